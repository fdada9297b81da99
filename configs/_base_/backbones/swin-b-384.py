# Swin-B with windows of 12, pre-trained on ImageNet-1K at 384 x 384.
_base_ = './swin-s.py'

backbone = dict(
    embed_dims=128,
    num_heads=[4, 8, 16, 32],
    window_size=12,
    init_cfg=dict(
        checkpoint='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/'
        'swin_base_patch4_window12_384.pth'))
in_channels = [128, 256, 512, 1024]
