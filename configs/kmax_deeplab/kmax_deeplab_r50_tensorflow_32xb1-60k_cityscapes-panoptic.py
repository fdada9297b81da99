# As in the TensorFlow original, see kmax_deeplab_r50_tensorflow_32xb2-150k_coco-panoptic.py; the
# stem's map has stride 2, and so have the masks.
_base_ = './kmax_deeplab_r50_32xb1-60k_cityscapes-panoptic.py'

model = dict(
    backbone=dict(type='mmpanseg.PreActivatedResNet'),
    panoptic_head=dict(
        conv_init='tensorflow',
        pixel_decoder=dict(dilation=2, align_corners='always', stem_before_res2=False),
        criterion=dict(align_corners='always')),
    panoptic_fusion_head=dict(align_corners='always', area_limit=(256, 2048)))
