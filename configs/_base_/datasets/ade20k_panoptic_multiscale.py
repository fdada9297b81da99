# ADE20K panoptic without cropping: flip, short side 512 - 1024, long side at most 2048. The paper
# says "image size varying from 512 to 2048" and no more.
_base_ = './ade20k_panoptic_640.py'

backend_args = None
train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='mmpanseg.LoadPanopticMap', backend_args=backend_args),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomChoiceResize', scales=[(2048, 64 * k) for k in range(8, 17)],
         resize_type='Resize', keep_ratio=True),
    dict(type='mmpanseg.PackPanopticInputs', drop_empty=True)]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='Resize', scale=(2048, 512), keep_ratio=True),
    dict(type='mmpanseg.LoadPanopticMap', backend_args=backend_args),
    dict(type='mmpanseg.PackPanopticInputs')]
train_dataloader = dict(
    batch_size=1,
    sampler=dict(_delete_=True, type='DefaultSampler', shuffle=True),
    dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
