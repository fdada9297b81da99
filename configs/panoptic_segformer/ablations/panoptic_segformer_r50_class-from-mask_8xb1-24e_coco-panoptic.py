# The mask decoder classifies things, as in the paper.
_base_ = '../panoptic_segformer_r50_8xb1-24e_coco-panoptic.py'

model = dict(panoptic_head=dict(
    class_from='mask',
    criterion=dict(mask_cls_weight=2.0)))
