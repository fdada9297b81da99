# CamVid in COCO panoptic format, written by tools/dataset_converters/camvid.py; half size.
_base_ = './scenes_panoptic.py'

data_root = 'data/camvid/'

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmpanseg.LoadPanopticMap'),
    dict(type='RandomResize', scale=(320, 240), ratio_range=(1.1, 1.7), resize_type='Resize',
         keep_ratio=True),
    # width, height
    dict(type='RandomCrop', crop_size=(256, 320), crop_type='absolute', allow_negative_crop=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmpanseg.PackPanopticInputs', drop_empty=True)]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(320, 240), keep_ratio=True),
    dict(type='mmpanseg.LoadPanopticMap'),
    dict(type='mmpanseg.PackPanopticInputs')]

train_dataloader = dict(dataset=dict(
    type='mmpanseg.CamVidPanopticDataset', data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(
    type='mmpanseg.CamVidPanopticDataset', data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader
del data_root, train_pipeline, test_pipeline
