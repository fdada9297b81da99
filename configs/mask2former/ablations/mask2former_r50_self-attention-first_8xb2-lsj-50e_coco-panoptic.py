# Self-attention before cross-attention in every decoder layer (Table 4b).
_base_ = '../mask2former_r50_8xb2-lsj-50e_coco-panoptic.py'

model = dict(panoptic_head=dict(transformer_decoder=dict(order=['self', 'cross', 'ffn'])))
