# Swin-T, pre-trained on ImageNet-1K. A config uses it by
#   model = dict(backbone=dict(_delete_=True, **_base_.pop('backbone')),
#                panoptic_head=dict(in_channels=_base_.pop('in_channels')))
backbone = dict(
    type='SwinTransformer',
    embed_dims=96,
    depths=[2, 2, 6, 2],
    num_heads=[3, 6, 12, 24],
    window_size=7,
    drop_path_rate=0.3,
    convert_weights=True,
    init_cfg=dict(
        type='Pretrained',
        checkpoint='https://github.com/SwinTransformer/storage/releases/download/v1.0.0/'
        'swin_tiny_patch4_window7_224.pth'))
in_channels = [96, 192, 384, 768]
