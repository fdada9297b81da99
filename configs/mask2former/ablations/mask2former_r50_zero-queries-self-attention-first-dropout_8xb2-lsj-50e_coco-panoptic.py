# All three optimization improvements undone (Table 4b).
_base_ = '../mask2former_r50_8xb2-lsj-50e_coco-panoptic.py'

model = dict(panoptic_head=dict(
    query_feat='zero',
    transformer_decoder=dict(order=['self', 'cross', 'ffn'], dropout=0.1)))
