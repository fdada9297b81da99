# The mask decoder receives and classifies all queries.
_base_ = '../panoptic_segformer_r50_8xb1-24e_coco-panoptic.py'

model = dict(panoptic_head=dict(
    filter_queries=False,
    class_from='mask',
    criterion=dict(mask_cls_weight=2.0)))
