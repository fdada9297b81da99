# ADE20K semantic, 150 classes, for the large backbones: short side 0.5 to 2 x 640, crop of
# 640 x 640, color jitter, flip.
_base_ = './ade20k_panoptic_640.py'

data = _base_.train_dataloader.dataset
train_pipeline, test_pipeline = data.pipeline, _base_.val_dataloader.dataset.pipeline
train_pipeline[1].type = test_pipeline[2].type = 'mmpanseg.LoadSemanticMap'
train_pipeline[-1].drop_empty = True

train_dataloader = dict(dataset=dict(
    _delete_=True,
    type='mmpanseg.ADE20KSemanticDataset',
    data_root=data.data_root,
    data_prefix=dict(img='images/training/', seg='annotations/training/'),
    pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(
    _delete_=True,
    type='mmpanseg.ADE20KSemanticDataset',
    data_root=data.data_root,
    data_prefix=dict(img='images/validation/', seg='annotations/validation/'),
    pipeline=test_pipeline,
    test_mode=True))
test_dataloader = val_dataloader
val_evaluator = dict(type='mmpanseg.SemanticMetric')
test_evaluator = val_evaluator
del data, train_pipeline, test_pipeline
