# ConvNeXt-T with mmpretrain's release of the ImageNet-22K weights, fine-tuned at 384 x 384. A
# config uses it by
#   model = dict(backbone=_base_.pop('backbone'),
#                panoptic_head=dict(in_channels=_base_.pop('in_channels')))
backbone = dict(
    _delete_=True,
    type='mmpanseg.ConvNeXt',
    arch='tiny',
    drop_path_rate=0.3,
    init_cfg=dict(
        type='Pretrained',
        prefix='backbone.',
        checkpoint='https://download.openmmlab.com/mmclassification/v0/convnext/'
        'convnext-tiny_in21k-pre_3rdparty_in1k-384px_20221219-c1182362.pth'))
in_channels = [96, 192, 384, 768]
