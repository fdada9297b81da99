# The wiring of the TensorFlow original, which alone has MaX-S. The paper's pretraining
# (ImageNet-22K, then 1K) is not released for PyTorch: set model.backbone.init_cfg to weights of
# your own.
_base_ = './kmax_deeplab_r50_tensorflow_32xb2-150k_coco-panoptic.py'

model = dict(
    backbone=dict(_delete_=True, type='mmpanseg.MaXS'),
    panoptic_head=dict(semantic_head=dict(low_level_act='gelu')))
