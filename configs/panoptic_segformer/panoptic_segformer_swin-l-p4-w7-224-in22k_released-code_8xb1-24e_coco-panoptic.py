_base_ = [
    './panoptic_segformer_swin-l-p4-w7-224-in22k_8xb1-24e_coco-panoptic.py',
    '../_base_/models/panoptic_segformer_released.py']

model = _base_.pop('released')
