# COCO panoptic with large-scale jitter: flip, scale 0.1 to 2.0 of 1024, crop or pad to 1024 x 1024
# (image value 128, map value -1 = void).
_base_ = ['../dataloaders.py', '../evaluators/panoptic.py']

data_root = 'data/coco/'
image_size = (1024, 1024)

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='mmpanseg.LoadPanopticMap', backend_args=None),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomResize', scale=image_size, ratio_range=(0.1, 2.0), resize_type='Resize',
         keep_ratio=True),
    dict(type='RandomCrop', crop_size=image_size, crop_type='absolute', allow_negative_crop=True),
    dict(type='Pad', size=image_size, pad_val=dict(img=(128, 128, 128), seg=-1)),
    dict(type='mmpanseg.PackPanopticInputs')]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    dict(type='mmpanseg.LoadPanopticMap', backend_args=None),
    dict(type='mmpanseg.PackPanopticInputs')]

train_dataloader = dict(dataset=dict(
    type='mmpanseg.CocoPanopticDataset',
    data_root=data_root,
    ann_file='annotations/panoptic_train2017.json',
    data_prefix=dict(img='train2017/', seg='annotations/panoptic_train2017/'),
    filter_cfg=dict(filter_empty_gt=True),
    pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(
    type='mmpanseg.CocoPanopticDataset',
    data_root=data_root,
    ann_file='annotations/panoptic_val2017.json',
    data_prefix=dict(img='val2017/', seg='annotations/panoptic_val2017/'),
    pipeline=test_pipeline))
test_dataloader = val_dataloader
del data_root, image_size, train_pipeline, test_pipeline
