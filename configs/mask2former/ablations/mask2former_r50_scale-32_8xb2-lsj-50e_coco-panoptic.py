# All decoder layers read the map at 1/32 (Tables 4a and 4d).
_base_ = '../mask2former_r50_8xb2-lsj-50e_coco-panoptic.py'

model = dict(panoptic_head=dict(levels=[0]))
