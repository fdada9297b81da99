_base_ = '../mask2former/mask2former_swin-l-p4-w12-384-in21k_16xb1-160k_ade20k-instance.py'

model = dict(panoptic_head=dict(type='mmpanseg.MPFormerHead'))
