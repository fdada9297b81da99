# COCO's 133 classes as semantic segmentation (Table 7).
_base_ = [
    '../_base_/models/mask2former_r50.py',
    '../_base_/datasets/coco_stuff_semantic.py',
    '../_base_/schedules/mask2former_50e_coco.py',
    '../_base_/default_runtime.py',
    '../_base_/tta.py']

model = dict(
    num_things_classes=0,
    num_stuff_classes=133,
    test_cfg=dict(panoptic_on=False, semantic_on=True))
