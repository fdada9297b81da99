_base_ = [
    './panoptic_segformer_r50_8xb1-24e_coco-panoptic.py',
    '../_base_/models/panoptic_segformer_released.py']

model = _base_.pop('released')
