# The paper's method: the defaults of `panoptic_head.piloting`.
_base_ = '../mask2former/mask2former_r50_8xb2-lsj-50e_coco-instance.py'

model = dict(panoptic_head=dict(type='mmpanseg.MPFormerHead'))
