# CamVid's label maps with all 11 classes.
_base_ = './camvid_panoptic.py'

dataset_type = 'mmpanseg.CamVidSemanticDataset'
train_pipeline = _base_.train_pipeline
train_pipeline[1] = dict(type='mmpanseg.LoadSemanticMap')
test_pipeline = _base_.test_pipeline
test_pipeline[2] = dict(type='mmpanseg.LoadSemanticMap')

train_dataloader = dict(dataset=dict(
    _delete_=True, type=dataset_type, data_root=_base_.data_root,
    data_prefix=dict(img='train/', seg='semantic_train/'), pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(
    _delete_=True, type=dataset_type, data_root=_base_.data_root,
    data_prefix=dict(img='val/', seg='semantic_val/'), test_mode=True, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='mmpanseg.SemanticMetric')
test_evaluator = val_evaluator
