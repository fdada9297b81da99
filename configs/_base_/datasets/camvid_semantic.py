# CamVid's label maps with all 11 classes.
_base_ = './camvid_panoptic.py'

data = _base_.train_dataloader.dataset
train_pipeline, test_pipeline = data.pipeline, _base_.val_dataloader.dataset.pipeline
train_pipeline[1].type = test_pipeline[2].type = 'mmpanseg.LoadSemanticMap'

train_dataloader = dict(dataset=dict(
    _delete_=True, type='mmpanseg.CamVidSemanticDataset', data_root=data.data_root,
    data_prefix=dict(img='train/', seg='semantic_train/'), pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(
    _delete_=True, type='mmpanseg.CamVidSemanticDataset', data_root=data.data_root,
    data_prefix=dict(img='val/', seg='semantic_val/'), test_mode=True, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='mmpanseg.SemanticMetric')
test_evaluator = val_evaluator
del data, train_pipeline, test_pipeline
