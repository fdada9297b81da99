_base_ = [
    './kmax_deeplab_r50_32xb1-60k_cityscapes-panoptic.py', '../_base_/backbones/convnext-t.py']

model = dict(
    backbone=dict(_base_.pop('backbone'), with_stem=True, drop_path_rate=0.2),
    panoptic_head=dict(
        in_channels=[_base_.in_channels[0], *_base_.pop('in_channels')],
        pixel_decoder=dict(stem_before_res2=False)))
