# Swin-L with windows of 12, pre-trained on ImageNet-21K at 384 x 384.
_base_ = './swin-b-384.py'

backbone = dict(
    embed_dims=192,
    num_heads=[6, 12, 24, 48],
    init_cfg=dict(
        checkpoint='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/'
        'swin_large_patch4_window12_384_22k.pth'))
in_channels = [192, 384, 768, 1536]
