# The scores of all three tasks for one panoptic model: PQ, mask AP of its instances and the mIoU of
# its panoptic segments. A config uses them by
#   val_evaluator = _base_.pop('three_tasks')
#   val_evaluator[1].ann_file = ...
#   test_evaluator = val_evaluator
three_tasks = [
    dict(type='mmpanseg.PanopticMetric'),
    dict(type='mmpanseg.InstanceMetric'),
    dict(type='mmpanseg.SemanticMetric', source='panoptic')]
