# Panoptic quality.
val_evaluator = dict(type='mmpanseg.PanopticMetric')
test_evaluator = val_evaluator
