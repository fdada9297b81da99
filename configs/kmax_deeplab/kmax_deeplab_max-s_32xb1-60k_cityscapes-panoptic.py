# The wiring of the TensorFlow original: the stem's map has stride 2, and so have the masks.
_base_ = './kmax_deeplab_r50_tensorflow_32xb1-60k_cityscapes-panoptic.py'

model = dict(
    backbone=dict(_delete_=True, type='mmpanseg.MaXS', with_stem=True),
    panoptic_head=dict(in_channels=[128, 256, 512, 1024, 2048]))
