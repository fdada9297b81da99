# Cityscapes instances: the things of the panoptic annotation. The score is COCO's mask AP; for that
# of the Cityscapes benchmark see docs/evaluation.md.
_base_ = './cityscapes_panoptic.py'

train_dataloader = dict(dataset=dict(type='mmpanseg.CityscapesInstanceDataset'))
val_dataloader = dict(dataset=dict(type='mmpanseg.CityscapesInstanceDataset'))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='mmpanseg.InstanceMetric',
    ann_file=_base_.val_dataloader.dataset.data_root + 'annotations/instances_val.json')
test_evaluator = val_evaluator
