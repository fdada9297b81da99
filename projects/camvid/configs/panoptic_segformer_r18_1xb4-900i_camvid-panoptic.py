_base_ = [
    '../../../configs/_base_/models/panoptic_segformer_r18_small.py',
    '../../../configs/_base_/datasets/camvid_panoptic.py',
    '../../../configs/_base_/schedules/adamw_poly_scratch.py',
    '../../../configs/_base_/default_runtime.py']

model = dict(num_things_classes=4, num_stuff_classes=7)
optim_wrapper = dict(paramwise_cfg=dict(decayed_embeddings=[]))
default_hooks = dict(checkpoint=dict(interval=900))
