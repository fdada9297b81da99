_base_ = [
    './panoptic_segformer_pvtv2-b5_8xb1-24e_coco-panoptic.py',
    '../_base_/models/panoptic_segformer_released.py']

model = _base_.pop('released')
