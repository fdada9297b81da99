# CamVid's cars, pedestrians, bicyclists and signs, each 8-connected component an object.
_base_ = './camvid_panoptic.py'

train_pipeline = _base_.train_dataloader.dataset.pipeline
train_pipeline[1] = dict(type='mmpanseg.LoadInstanceMasks')
test_pipeline = _base_.val_dataloader.dataset.pipeline
del test_pipeline[2]  # the metric reads the annotation file

train_dataloader = dict(dataset=dict(
    type='mmpanseg.CamVidInstanceDataset', ann_file='annotations/instances_train.json',
    data_prefix=dict(_delete_=True, img='train/'), filter_cfg=dict(filter_empty_gt=True),
    pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(
    type='mmpanseg.CamVidInstanceDataset', ann_file='annotations/instances_val.json',
    data_prefix=dict(_delete_=True, img='val/'), pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='mmpanseg.InstanceMetric',
    ann_file=_base_.val_dataloader.dataset.data_root + 'annotations/instances_val.json')
test_evaluator = val_evaluator
del train_pipeline, test_pipeline
