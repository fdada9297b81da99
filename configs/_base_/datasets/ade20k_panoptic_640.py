# ADE20K panoptic: short side 0.5 - 2 x 640, crop of 640 x 640, color jitter, flip.
# tools/dataset_converters/ade20k.py writes the annotation.
_base_ = '../dataloaders.py'

dataset_type = 'mmpanseg.ADE20KPanopticDataset'
data_root = 'data/ADEChallengeData2016/'
crop_size = (640, 640)
backend_args = None

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='mmpanseg.LoadPanopticMap', backend_args=backend_args),
    dict(type='RandomChoiceResize', scales=[(2560, 64 * k) for k in range(5, 21)],
         resize_type='Resize', keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, crop_type='absolute', allow_negative_crop=True),
    dict(type='mmpanseg.SSDColorJitter'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='Pad', size=crop_size, pad_val=dict(img=(128, 128, 128), seg=-1)),
    dict(type='mmpanseg.PackPanopticInputs')]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='Resize', scale=(2560, 640), keep_ratio=True),
    dict(type='mmpanseg.LoadPanopticMap', backend_args=backend_args),
    dict(type='mmpanseg.PackPanopticInputs')]

train_dataloader = dict(dataset=dict(
    type=dataset_type,
    data_root=data_root,
    ann_file='ade20k_panoptic_train.json',
    data_prefix=dict(img='images/training/', seg='ade20k_panoptic_train/'),
    filter_cfg=dict(filter_empty_gt=True),
    pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(
    type=dataset_type,
    data_root=data_root,
    ann_file='ade20k_panoptic_val.json',
    data_prefix=dict(img='images/validation/', seg='ade20k_panoptic_val/'),
    pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='mmpanseg.PanopticMetric')
test_evaluator = val_evaluator
