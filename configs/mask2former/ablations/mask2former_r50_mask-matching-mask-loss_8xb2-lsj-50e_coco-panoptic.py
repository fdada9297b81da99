# Whole masks in matching and in the loss (Table 5).
_base_ = '../mask2former_r50_8xb2-lsj-50e_coco-panoptic.py'

model = dict(panoptic_head=dict(criterion=dict(match_on='masks', loss_on='masks')))
