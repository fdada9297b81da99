# Location target: center and scale, as in the first version.
_base_ = '../panoptic_segformer_r50_8xb1-24e_coco-panoptic.py'

model = dict(panoptic_head=dict(location='center_scale'))
