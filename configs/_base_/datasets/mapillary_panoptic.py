# Mapillary Vistas 1.2 panoptic, the annotation of the download: short side 0.5 - 2 x 2048, crop of
# 1024 x 1024, color jitter, flip. At test the longer side is 2048.
_base_ = '../dataloaders.py'

dataset_type = 'mmpanseg.MapillaryPanopticDataset'
data_root = 'data/mapillary_vistas/'
crop_size = (1024, 1024)
backend_args = None

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='mmpanseg.LoadPanopticMap', backend_args=backend_args),
    dict(type='RandomChoiceResize', scales=[(8192, int(204.8 * k)) for k in range(5, 21)],
         resize_type='Resize', keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, crop_type='absolute', allow_negative_crop=True),
    dict(type='mmpanseg.SSDColorJitter'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='Pad', size=crop_size, pad_val=dict(img=(128, 128, 128), seg=-1)),
    dict(type='mmpanseg.PackPanopticInputs')]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='Resize', scale=(2048, 2048), keep_ratio=True),
    dict(type='mmpanseg.LoadPanopticMap', backend_args=backend_args),
    dict(type='mmpanseg.PackPanopticInputs')]

train_dataloader = dict(dataset=dict(
    type=dataset_type,
    data_root=data_root,
    ann_file='training/panoptic/panoptic_2018.json',
    data_prefix=dict(img='training/images/', seg='training/panoptic/'),
    filter_cfg=dict(filter_empty_gt=True),
    pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(
    type=dataset_type,
    data_root=data_root,
    ann_file='validation/panoptic/panoptic_2018.json',
    data_prefix=dict(img='validation/images/', seg='validation/panoptic/'),
    pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='mmpanseg.PanopticMetric')
test_evaluator = val_evaluator
