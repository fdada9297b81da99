# Masks through a sigmoid instead of ReLU.
_base_ = '../panoptic_segformer_r50_8xb1-24e_coco-panoptic.py'

model = dict(panoptic_head=dict(
    mask_decoder=dict(activation='sigmoid'), stuff_mask_decoder=dict(activation='sigmoid')))
