_base_ = './mask2former_r18_1xb4-900i_camvid-panoptic.py'

model = dict(panoptic_head=dict(type='mmpanseg.MPFormerHead'))
