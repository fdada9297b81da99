# ADE20K instances: the things of the panoptic annotation, scored against the instance annotation.
_base_ = './ade20k_panoptic_640.py'

train_dataloader = dict(dataset=dict(type='mmpanseg.ADE20KInstanceDataset'))
val_dataloader = dict(dataset=dict(type='mmpanseg.ADE20KInstanceDataset'))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='mmpanseg.InstanceMetric',
    ann_file=_base_.val_dataloader.dataset.data_root + 'ade20k_instance_val.json')
test_evaluator = val_evaluator
