# Cityscapes instances: the things of the panoptic annotation. The score is COCO's mask AP; for that
# of the Cityscapes benchmark see docs/evaluation.md.
_base_ = './cityscapes_panoptic.py'

dataset_type = 'mmpanseg.CityscapesInstanceDataset'

train_dataloader = dict(dataset=dict(type=dataset_type))
val_dataloader = dict(dataset=dict(type=dataset_type))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='mmpanseg.InstanceMetric', ann_file='data/cityscapes/annotations/instances_val.json')
test_evaluator = val_evaluator
