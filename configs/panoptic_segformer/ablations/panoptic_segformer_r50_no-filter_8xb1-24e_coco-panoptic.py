# All queries pass on to the mask decoder, which classifies them.
_base_ = '../panoptic_segformer_r50_8xb1-24e_coco-panoptic.py'

model = dict(panoptic_head=dict(
    filter_queries=False,
    class_from='mask',
    criterion=dict(mask_cls_weight=2.0)))
