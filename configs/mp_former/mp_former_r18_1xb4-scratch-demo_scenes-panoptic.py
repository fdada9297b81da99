_base_ = '../mask2former/mask2former_r18_1xb4-scratch-demo_scenes-panoptic.py'

model = dict(panoptic_head=dict(type='mmpanseg.MPFormerHead'))
