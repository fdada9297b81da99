# One set of 353 queries for things and stuff, all located (Table B.6).
_base_ = '../panoptic_segformer_r50_8xb1-24e_coco-panoptic.py'

model = dict(panoptic_head=dict(num_queries=353, stuff_mask_decoder=None))
