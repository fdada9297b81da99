# Cityscapes semantic, 19 classes, from the files of the download: short side 0.5 to 2 x 1024, crop
# of 1024 x 512 (width, height), color jitter, flip.
_base_ = './cityscapes_panoptic.py'

data = _base_.train_dataloader.dataset
train_pipeline, test_pipeline = data.pipeline, _base_.val_dataloader.dataset.pipeline
train_pipeline[1].type = test_pipeline[2].type = 'mmpanseg.LoadSemanticMap'
train_pipeline[-1].drop_empty = True

train_dataloader = dict(dataset=dict(
    _delete_=True,
    type='mmpanseg.CityscapesSemanticDataset',
    data_root=data.data_root,
    data_prefix=dict(img='leftImg8bit/train/', seg='gtFine/train/'),
    pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(
    _delete_=True,
    type='mmpanseg.CityscapesSemanticDataset',
    data_root=data.data_root,
    data_prefix=dict(img='leftImg8bit/val/', seg='gtFine/val/'),
    pipeline=test_pipeline,
    test_mode=True))
test_dataloader = val_dataloader
val_evaluator = dict(type='mmpanseg.SemanticMetric')
test_evaluator = val_evaluator
del data, train_pipeline, test_pipeline
