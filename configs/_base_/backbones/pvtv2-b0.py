# PVTv2-B0, pre-trained on ImageNet-1K, for models that read strides 8, 16 and 32. A config uses
# it by
#   model = dict(backbone=dict(_delete_=True, **_base_.pop('backbone')),
#                panoptic_head=dict(in_channels=_base_.pop('in_channels')))
backbone = dict(
    type='mmpanseg.PVTv2',
    embed_dims=32,
    num_layers=[2, 2, 2, 2],
    mlp_ratios=[8, 8, 4, 4],
    drop_path_rate=0.1,
    out_indices=(1, 2, 3),
    init_cfg=dict(
        type='Pretrained',
        checkpoint='https://github.com/whai362/PVT/releases/download/v2/pvt_v2_b0.pth'))
in_channels = [64, 160, 256]
