_base_ = [
    '../../../configs/_base_/models/kmax_r18_small.py',
    '../../../configs/_base_/datasets/camvid_panoptic.py',
    '../../../configs/_base_/schedules/adamw_poly_scratch.py',
    '../../../configs/_base_/default_runtime.py']

model = dict(
    num_things_classes=4,
    num_stuff_classes=7,
    # after so few steps the queries' softmax is flat yet: 60 of them share every pixel
    panoptic_fusion_head=dict(score_thr=0.4, mask_thr=0.1))
optim_wrapper = dict(
    optimizer=dict(lr=1e-3),
    paramwise_cfg=dict(_delete_=True, undecayed=['.bias']))
default_hooks = dict(checkpoint=dict(interval=900))
