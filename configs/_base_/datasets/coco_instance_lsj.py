# COCO instances with large-scale jitter as in coco_panoptic_lsj.py, and no empty masks.
_base_ = '../dataloaders.py'

dataset_type = 'mmpanseg.CocoInstanceDataset'
data_root = 'data/coco/'
image_size = (1024, 1024)
backend_args = None

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='mmpanseg.LoadInstanceMasks'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomResize', scale=image_size, ratio_range=(0.1, 2.0), resize_type='Resize',
         keep_ratio=True),
    dict(type='RandomCrop', crop_size=image_size, crop_type='absolute', allow_negative_crop=True),
    dict(type='Pad', size=image_size, pad_val=dict(img=(128, 128, 128), masks=0)),
    dict(type='mmpanseg.PackPanopticInputs', drop_empty=True)]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    dict(type='mmpanseg.PackPanopticInputs')]

train_dataloader = dict(dataset=dict(
    type=dataset_type,
    data_root=data_root,
    ann_file='annotations/instances_train2017.json',
    data_prefix=dict(img='train2017/'),
    filter_cfg=dict(filter_empty_gt=True),
    pipeline=train_pipeline,
    backend_args=backend_args))
val_dataloader = dict(dataset=dict(
    type=dataset_type,
    data_root=data_root,
    ann_file='annotations/instances_val2017.json',
    data_prefix=dict(img='val2017/'),
    pipeline=test_pipeline,
    backend_args=backend_args))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='mmpanseg.InstanceMetric', ann_file=data_root + 'annotations/instances_val2017.json')
test_evaluator = val_evaluator
