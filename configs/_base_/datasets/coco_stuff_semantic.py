# COCO's 133 classes, things and stuff alike, as semantic segmentation with large-scale jitter.
# tools/dataset_converters/coco_semantic.py writes the label maps.
_base_ = './coco_panoptic_lsj.py'

data = _base_.train_dataloader.dataset
train_pipeline, test_pipeline = data.pipeline, _base_.val_dataloader.dataset.pipeline
train_pipeline[1].type = test_pipeline[2].type = 'mmpanseg.LoadSemanticMap'
train_pipeline[-1].drop_empty = True

train_dataloader = dict(dataset=dict(
    _delete_=True,
    type='mmpanseg.CocoSemanticDataset',
    data_root=data.data_root,
    data_prefix=dict(img='train2017/', seg='annotations/panoptic_semseg_train2017/'),
    pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(
    _delete_=True,
    type='mmpanseg.CocoSemanticDataset',
    data_root=data.data_root,
    data_prefix=dict(img='val2017/', seg='annotations/panoptic_semseg_val2017/'),
    pipeline=test_pipeline,
    test_mode=True))
test_dataloader = val_dataloader
val_evaluator = dict(type='mmpanseg.SemanticMetric')
test_evaluator = val_evaluator
del data, train_pipeline, test_pipeline
