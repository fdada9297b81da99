# ADE20K panoptic without cropping: flip, short side 512 to 1024, long side at most 2048. The paper
# specifies only "image size varying from 512 to 2048".
_base_ = './ade20k_panoptic_640.py'

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='mmpanseg.LoadPanopticMap', backend_args=None),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomChoiceResize', scales=[(2048, 64 * k) for k in range(8, 17)],
         resize_type='Resize', keep_ratio=True),
    dict(type='mmpanseg.PackPanopticInputs', drop_empty=True)]
test_pipeline = _base_.val_dataloader.dataset.pipeline
test_pipeline[1].scale = (2048, 512)

train_dataloader = dict(
    batch_size=1,
    sampler=dict(_delete_=True, type='DefaultSampler', shuffle=True),
    dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
del train_pipeline, test_pipeline
