# Every decoder layer reads all three maps (Table 4d).
_base_ = '../mask2former_r50_8xb2-lsj-50e_coco-panoptic.py'

model = dict(panoptic_head=dict(multi_scale='naive'))
