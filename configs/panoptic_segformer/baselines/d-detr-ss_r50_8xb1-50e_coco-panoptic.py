# D-DETR-SS (appendix A.2): the same with the map of stride 32 alone.
_base_ = './d-detr-ms_r50_8xb1-50e_coco-panoptic.py'

model = dict(panoptic_head=dict(encoder_maps=1, pixel_decoder=dict(num_levels=1)))
