# Queries start from zeros, as in DETR (Tables 4b and Xb).
_base_ = '../mask2former_r50_8xb2-lsj-50e_coco-panoptic.py'

model = dict(panoptic_head=dict(query_feat='zero'))
