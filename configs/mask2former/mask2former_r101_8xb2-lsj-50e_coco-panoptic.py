_base_ = [
    './mask2former_r50_8xb2-lsj-50e_coco-panoptic.py',
    '../_base_/backbones/r101.py']

model = dict(backbone=_base_.pop('backbone'))
