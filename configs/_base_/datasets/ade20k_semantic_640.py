# ADE20K semantic for the large backbones: short side 0.5 - 2 x 640, crop of 640 x 640.
_base_ = './ade20k_semantic_512.py'

crop_size = (640, 640)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmpanseg.LoadSemanticMap'),
    dict(type='RandomChoiceResize', scales=[(2560, 64 * k) for k in range(5, 21)],
         resize_type='Resize', keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, crop_type='absolute', allow_negative_crop=True),
    dict(type='mmpanseg.SSDColorJitter'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='Pad', size=crop_size, pad_val=dict(img=(128, 128, 128), seg=-1)),
    dict(type='mmpanseg.PackPanopticInputs', drop_empty=True)]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2560, 640), keep_ratio=True),
    dict(type='mmpanseg.LoadSemanticMap'),
    dict(type='mmpanseg.PackPanopticInputs')]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
