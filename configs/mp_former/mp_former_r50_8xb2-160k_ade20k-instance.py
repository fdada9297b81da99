_base_ = '../mask2former/mask2former_r50_8xb2-160k_ade20k-instance.py'

model = dict(panoptic_head=dict(type='mmpanseg.MPFormerHead'))
