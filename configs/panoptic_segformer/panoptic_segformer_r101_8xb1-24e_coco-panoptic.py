_base_ = [
    './panoptic_segformer_r50_8xb1-24e_coco-panoptic.py',
    '../_base_/backbones/r101.py']

model = dict(backbone=_base_.pop('backbone'))
