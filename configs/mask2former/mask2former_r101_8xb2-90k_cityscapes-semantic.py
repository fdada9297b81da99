_base_ = [
    './mask2former_r50_8xb2-90k_cityscapes-semantic.py',
    '../_base_/backbones/r101.py']

model = dict(backbone=_base_.pop('backbone'))
