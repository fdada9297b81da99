_base_ = [
    '../_base_/models/mask2former_r50.py',
    '../_base_/datasets/cityscapes_semantic.py',
    '../_base_/schedules/mask2former_90k_cityscapes.py',
    '../_base_/default_runtime.py',
    '../_base_/tta.py']

# The released code trains the batch norms here.
model = dict(
    num_things_classes=0,
    num_stuff_classes=19,
    test_cfg=dict(panoptic_on=False, semantic_on=True),
    backbone=dict(norm_cfg=dict(type='SyncBN', requires_grad=True), norm_eval=False))
