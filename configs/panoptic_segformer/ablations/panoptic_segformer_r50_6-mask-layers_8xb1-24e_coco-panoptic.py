# 6 layers in the mask decoder of things.
_base_ = '../panoptic_segformer_r50_8xb1-24e_coco-panoptic.py'

model = dict(panoptic_head=dict(mask_decoder=dict(num_layers=6)))
