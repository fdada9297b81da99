_base_ = '../mask2former/mask2former_r50_8xb2-90k_cityscapes-semantic.py'

model = dict(panoptic_head=dict(type='mmpanseg.MPFormerHead'))
