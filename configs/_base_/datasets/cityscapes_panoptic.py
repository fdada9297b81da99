# Cityscapes panoptic: short side 0.5 - 2 x 1024, crop of 512 x 1024, color jitter, flip.
# tools/dataset_converters/cityscapes.py writes the annotation.
_base_ = '../dataloaders.py'

dataset_type = 'mmpanseg.CityscapesPanopticDataset'
data_root = 'data/cityscapes/'
crop_size = (1024, 512)  # width, height
backend_args = None

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='mmpanseg.LoadPanopticMap', backend_args=backend_args),
    dict(type='RandomChoiceResize', scales=[(4096, int(102.4 * k)) for k in range(5, 21)],
         resize_type='Resize', keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, crop_type='absolute', allow_negative_crop=True),
    dict(type='mmpanseg.SSDColorJitter'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmpanseg.PackPanopticInputs')]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='Resize', scale=(2048, 1024), keep_ratio=True),
    dict(type='mmpanseg.LoadPanopticMap', backend_args=backend_args),
    dict(type='mmpanseg.PackPanopticInputs')]

train_dataloader = dict(dataset=dict(
    type=dataset_type,
    data_root=data_root,
    ann_file='annotations/panoptic_train.json',
    data_prefix=dict(img='leftImg8bit/train/', seg='annotations/panoptic_train/'),
    filter_cfg=dict(filter_empty_gt=True),
    pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(
    type=dataset_type,
    data_root=data_root,
    ann_file='annotations/panoptic_val.json',
    data_prefix=dict(img='leftImg8bit/val/', seg='annotations/panoptic_val/'),
    pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='mmpanseg.PanopticMetric')
test_evaluator = val_evaluator
