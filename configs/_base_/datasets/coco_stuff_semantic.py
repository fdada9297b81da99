# COCO's 133 classes, things and stuff alike, as semantic segmentation with large-scale jitter.
# tools/dataset_converters/coco_semantic.py writes the label maps.
_base_ = '../dataloaders.py'

dataset_type = 'mmpanseg.CocoSemanticDataset'
data_root = 'data/coco/'
image_size = (1024, 1024)
backend_args = None

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='mmpanseg.LoadSemanticMap', backend_args=backend_args),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomResize', scale=image_size, ratio_range=(0.1, 2.0), resize_type='Resize',
         keep_ratio=True),
    dict(type='RandomCrop', crop_size=image_size, crop_type='absolute', allow_negative_crop=True),
    dict(type='Pad', size=image_size, pad_val=dict(img=(128, 128, 128), seg=-1)),
    dict(type='mmpanseg.PackPanopticInputs', drop_empty=True)]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    dict(type='mmpanseg.LoadSemanticMap', backend_args=backend_args),
    dict(type='mmpanseg.PackPanopticInputs')]

train_dataloader = dict(dataset=dict(
    type=dataset_type,
    data_root=data_root,
    data_prefix=dict(img='train2017/', seg='annotations/panoptic_semseg_train2017/'),
    pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(
    type=dataset_type,
    data_root=data_root,
    data_prefix=dict(img='val2017/', seg='annotations/panoptic_semseg_val2017/'),
    pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='mmpanseg.SemanticMetric')
test_evaluator = val_evaluator
