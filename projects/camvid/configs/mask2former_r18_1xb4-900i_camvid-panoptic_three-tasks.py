# The panoptic model, scored for all three tasks from one pass: PQ, AP_pan^Th and mIoU_pan.
_base_ = './mask2former_r18_1xb4-900i_camvid-panoptic.py'

model = dict(test_cfg=dict(panoptic_on=True, instance_on=True, semantic_on=True))
val_evaluator = [
    dict(type='mmpanseg.PanopticMetric', boundary_width=0.02, by_size=True),
    dict(type='mmpanseg.InstanceMetric',
         ann_file='data/camvid/annotations/instances_val.json'),
    dict(type='mmpanseg.SemanticMetric', source='panoptic')]
test_evaluator = val_evaluator
