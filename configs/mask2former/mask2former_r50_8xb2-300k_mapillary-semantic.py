_base_ = [
    '../_base_/models/mask2former_r50.py',
    '../_base_/datasets/mapillary_semantic.py',
    '../_base_/schedules/mask2former_300k_mapillary.py',
    '../_base_/default_runtime.py',
    '../_base_/tta.py']

model = dict(
    num_things_classes=0,
    num_stuff_classes=65,
    test_cfg=dict(panoptic_on=False, semantic_on=True))
