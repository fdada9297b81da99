_base_ = './kmax_deeplab_r50_32xb2-100k_coco-panoptic.py'

model = dict(
    backbone=dict(_delete_=True, type='mmpanseg.MaXS'),
    panoptic_head=dict(
        conv_init='tensorflow',
        pixel_decoder=dict(dilation=2, align_corners='always'),
        semantic_head=dict(low_level_act='gelu', align_corners='always'),
        criterion=dict(align_corners='always')),
    panoptic_fusion_head=dict(align_corners='always', area_limit=(400, 6400)))
