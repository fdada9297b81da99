# The mean of the features inside each mask in place of attention (Table 4c).
_base_ = '../mask2former_r50_8xb2-lsj-50e_coco-panoptic.py'

model = dict(panoptic_head=dict(transformer_decoder=dict(cross_attention='mask_pooling')))
