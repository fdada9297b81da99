# Swin-L with windows of 7, pre-trained on ImageNet-22K at 224 x 224, for models that read strides
# 8, 16 and 32.
_base_ = './swin-s.py'

backbone = dict(
    embed_dims=192,
    num_heads=[6, 12, 24, 48],
    out_indices=(1, 2, 3),
    init_cfg=dict(
        checkpoint='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/'
        'swin_large_patch4_window7_224_22k.pth'))
in_channels = [384, 768, 1536]
