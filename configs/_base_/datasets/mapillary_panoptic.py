# Mapillary Vistas 1.2 panoptic, the annotation of the download: short side 0.5 to 2 x 2048, crop of
# 1024 x 1024, color jitter, flip. At test the longer side is 2048.
_base_ = ['../dataloaders.py', '../pipelines/scale_crop.py', '../evaluators/panoptic.py']

data_root = 'data/mapillary_vistas/'
train_pipeline, test_pipeline = _base_.pop('train_pipeline'), _base_.pop('test_pipeline')
train_pipeline[2].scales = [(8192, int(204.8 * k)) for k in range(5, 21)]
train_pipeline[3].crop_size = train_pipeline[6].size = (1024, 1024)
test_pipeline[1].scale = (2048, 2048)

train_dataloader = dict(dataset=dict(
    type='mmpanseg.MapillaryPanopticDataset',
    data_root=data_root,
    ann_file='training/panoptic/panoptic_2018.json',
    data_prefix=dict(img='training/images/', seg='training/panoptic/'),
    filter_cfg=dict(filter_empty_gt=True),
    pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(
    type='mmpanseg.MapillaryPanopticDataset',
    data_root=data_root,
    ann_file='validation/panoptic/panoptic_2018.json',
    data_prefix=dict(img='validation/images/', seg='validation/panoptic/'),
    pipeline=test_pipeline))
test_dataloader = val_dataloader
del data_root, train_pipeline, test_pipeline
