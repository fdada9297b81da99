# One head in the mask decoders (Table B.5).
_base_ = '../panoptic_segformer_r50_8xb1-24e_coco-panoptic.py'

model = dict(panoptic_head=dict(
    mask_decoder=dict(num_heads=1), stuff_mask_decoder=dict(num_heads=1)))
