# ResNet-101: what differs from ResNet-50. A config uses it by
#   model = dict(backbone=_base_.pop('backbone'))
backbone = dict(
    depth=101,
    init_cfg=dict(checkpoint='https://download.pytorch.org/models/resnet101-63fe2227.pth'))
