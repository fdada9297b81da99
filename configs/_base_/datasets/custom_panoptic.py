# Your own images in COCO panoptic format. Short side 640 at test, 0.5 to 1.5 times that in
# training, in crops of up to 640 x 640. The classes are the categories of the JSON unless the
# `metainfo` of the data sets names them.
#
# data/custom/
#   train/  val/                              images
#   panoptic_train.json  panoptic_train/      annotation, PNG of segment ids per image
#   panoptic_val.json    panoptic_val/
_base_ = ['../dataloaders.py', '../evaluators/panoptic.py']

data_root = 'data/custom/'
test_scale = (1333, 640)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmpanseg.LoadPanopticMap'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomResize', scale=test_scale, ratio_range=(0.5, 1.5), resize_type='Resize',
         keep_ratio=True),
    dict(type='RandomCrop', crop_size=(640, 640), crop_type='absolute', allow_negative_crop=True),
    dict(type='mmpanseg.PackPanopticInputs', drop_empty=True)]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=test_scale, keep_ratio=True),
    dict(type='mmpanseg.LoadPanopticMap'),
    dict(type='mmpanseg.PackPanopticInputs')]

train_dataloader = dict(dataset=dict(
    type='mmpanseg.PanopticDataset',
    data_root=data_root,
    ann_file='panoptic_train.json',
    data_prefix=dict(img='train/', seg='panoptic_train/'),
    filter_cfg=dict(filter_empty_gt=True),
    pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(
    type='mmpanseg.PanopticDataset',
    data_root=data_root,
    ann_file='panoptic_val.json',
    data_prefix=dict(img='val/', seg='panoptic_val/'),
    pipeline=test_pipeline))
test_dataloader = val_dataloader
del data_root, test_scale, train_pipeline, test_pipeline
