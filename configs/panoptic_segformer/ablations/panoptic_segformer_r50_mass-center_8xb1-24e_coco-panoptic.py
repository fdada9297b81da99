# Location target: the center of mass (appendix B.2).
_base_ = '../panoptic_segformer_r50_8xb1-24e_coco-panoptic.py'

model = dict(panoptic_head=dict(location='center_of_mass'))
