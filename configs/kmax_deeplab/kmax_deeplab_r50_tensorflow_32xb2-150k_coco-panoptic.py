# The network of the TensorFlow original, for its weights: no max pooling, maps before the ReLU,
# dilated convolutions in the pixel decoder, corners always aligned, its start values. The recipe
# stays the PyTorch version's.
_base_ = './kmax_deeplab_r50_32xb2-150k_coco-panoptic.py'

model = dict(
    backbone=dict(type='mmpanseg.PreActivatedResNet'),
    panoptic_head=dict(
        conv_init='tensorflow',
        pixel_decoder=dict(dilation=2, align_corners='always'),
        semantic_head=dict(low_level_act='relu', align_corners='always'),
        criterion=dict(align_corners='always')),
    panoptic_fusion_head=dict(align_corners='always', area_limit=(400, 6400)))
