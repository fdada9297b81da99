# PVTv2-B5, pre-trained on ImageNet-22K as in Panoptic SegFormer's released code (its first paper
# names ImageNet-1K: pvt_v2_b5.pth).
_base_ = './pvtv2-b2.py'

backbone = dict(
    num_layers=[3, 6, 40, 3],
    mlp_ratios=[4, 4, 4, 4],
    init_cfg=dict(
        checkpoint='https://github.com/whai362/PVT/releases/download/v2/pvt_v2_b5_22k.pth'))
