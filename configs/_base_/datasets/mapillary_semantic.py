# Mapillary Vistas 1.2 semantic, 65 classes, from the files of the download: short side 0.5 to 2 x
# 2048, crop of 1024 x 1024, color jitter, flip. At test the longer side is 2048.
_base_ = './mapillary_panoptic.py'

data = _base_.train_dataloader.dataset
train_pipeline, test_pipeline = data.pipeline, _base_.val_dataloader.dataset.pipeline
train_pipeline[1].type = test_pipeline[2].type = 'mmpanseg.LoadSemanticMap'
train_pipeline[-1].drop_empty = True

train_dataloader = dict(dataset=dict(
    _delete_=True,
    type='mmpanseg.MapillarySemanticDataset',
    data_root=data.data_root,
    data_prefix=dict(img='training/images/', seg='training/labels/'),
    pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(
    _delete_=True,
    type='mmpanseg.MapillarySemanticDataset',
    data_root=data.data_root,
    data_prefix=dict(img='validation/images/', seg='validation/labels/'),
    pipeline=test_pipeline,
    test_mode=True))
test_dataloader = val_dataloader
val_evaluator = dict(type='mmpanseg.SemanticMetric')
test_evaluator = val_evaluator
del data, train_pipeline, test_pipeline
