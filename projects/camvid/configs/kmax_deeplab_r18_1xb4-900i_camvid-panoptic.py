_base_ = [
    '../../../configs/_base_/models/kmax_r18_small.py',
    '../../../configs/_base_/datasets/camvid_panoptic.py',
    '../../../configs/_base_/schedules/adamw_poly_scratch.py',
    '../../../configs/_base_/default_runtime.py']

model = dict(
    num_things_classes=4,
    num_stuff_classes=7,
    panoptic_fusion_head=dict(score_thr=0.4))
optim_wrapper = dict(
    optimizer=dict(lr=1e-3),
    paramwise_cfg=dict(_delete_=True, undecayed=['.bias']))
default_hooks = dict(checkpoint=dict(interval=900))
