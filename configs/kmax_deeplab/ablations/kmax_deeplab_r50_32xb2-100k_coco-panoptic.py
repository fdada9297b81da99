# The ablations' default: 100 000 iterations.
_base_ = [
    '../../_base_/models/kmax_r50.py',
    '../../_base_/datasets/coco_panoptic_kmax.py',
    '../../_base_/schedules/kmax_100k.py',
    '../../_base_/default_runtime.py']
