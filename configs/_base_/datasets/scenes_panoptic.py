# Synthetic scenes of 192 x 256 pixels, written by `python -m mmpanseg.datasets.scenes data/scenes`;
# they are resized to three quarters of their size.
_base_ = '../evaluators/panoptic.py'

data_root = 'data/scenes/'

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmpanseg.LoadPanopticMap'),
    dict(type='RandomResize', scale=(192, 144), ratio_range=(1.0, 1.2), resize_type='Resize',
         keep_ratio=True),
    # width, height
    dict(type='RandomCrop', crop_size=(128, 192), crop_type='absolute', allow_negative_crop=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmpanseg.PackPanopticInputs', drop_empty=True)]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(192, 144), keep_ratio=True),
    dict(type='mmpanseg.LoadPanopticMap'),
    dict(type='mmpanseg.PackPanopticInputs')]

train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='mmpanseg.ScenesDataset',
        data_root=data_root,
        ann_file='annotations/panoptic_train.json',
        data_prefix=dict(img='train/', seg='panoptic_train/'),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='mmpanseg.ScenesDataset',
        data_root=data_root,
        ann_file='annotations/panoptic_val.json',
        data_prefix=dict(img='val/', seg='panoptic_val/'),
        test_mode=True,
        pipeline=test_pipeline))
test_dataloader = val_dataloader
del data_root, train_pipeline, test_pipeline
