# No self-attention in the mask decoder of stuff (appendix B.3).
_base_ = '../panoptic_segformer_r50_8xb1-24e_coco-panoptic.py'

model = dict(panoptic_head=dict(stuff_mask_decoder=dict(self_attention=False)))
