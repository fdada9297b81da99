# COCO instances with large-scale jitter as in coco_panoptic_lsj.py, without empty masks.
_base_ = './coco_panoptic_lsj.py'

data = _base_.train_dataloader.dataset
train_pipeline, test_pipeline = data.pipeline, _base_.val_dataloader.dataset.pipeline
train_pipeline[1] = dict(type='mmpanseg.LoadInstanceMasks')
train_pipeline[5].pad_val = dict(img=(128, 128, 128), masks=0)
train_pipeline[-1].drop_empty = True
del test_pipeline[2]  # the metric reads the annotation file

train_dataloader = dict(dataset=dict(
    _delete_=True,
    type='mmpanseg.CocoInstanceDataset',
    data_root=data.data_root,
    ann_file='annotations/instances_train2017.json',
    data_prefix=dict(img='train2017/'),
    filter_cfg=dict(filter_empty_gt=True),
    pipeline=train_pipeline,
    backend_args=None))
val_dataloader = dict(dataset=dict(
    _delete_=True,
    type='mmpanseg.CocoInstanceDataset',
    data_root=data.data_root,
    ann_file='annotations/instances_val2017.json',
    data_prefix=dict(img='val2017/'),
    pipeline=test_pipeline,
    backend_args=None,
    test_mode=True))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='mmpanseg.InstanceMetric', ann_file=data.data_root + 'annotations/instances_val2017.json')
test_evaluator = val_evaluator
del data, train_pipeline, test_pipeline
