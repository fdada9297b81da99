# PVTv2-B2, pre-trained on ImageNet-1K.
_base_ = './pvtv2-b0.py'

backbone = dict(
    embed_dims=64,
    num_layers=[3, 4, 6, 3],
    init_cfg=dict(
        checkpoint='https://github.com/whai362/PVT/releases/download/v2/pvt_v2_b2.pth'))
in_channels = [128, 320, 512]
