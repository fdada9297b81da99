# ADE20K instances: the things of the panoptic annotation, scored against the instance annotation.
_base_ = './ade20k_panoptic_640.py'

dataset_type = 'mmpanseg.ADE20KInstanceDataset'

train_dataloader = dict(dataset=dict(type=dataset_type))
val_dataloader = dict(dataset=dict(type=dataset_type))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='mmpanseg.InstanceMetric',
    ann_file='data/ADEChallengeData2016/ade20k_instance_val.json')
test_evaluator = val_evaluator
