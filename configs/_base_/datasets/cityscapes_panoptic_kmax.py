# Cityscapes panoptic as kMaX-DeepLab reads it: large-scale jitter 0.5 - 2.0 of 1025 x 2049, color
# jitter, and panoptic copy-paste of a second image at half the scale.
_base_ = './cityscapes_panoptic.py'

image_size = (1025, 2049)  # height, width
backend_args = None

load_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='mmpanseg.LoadPanopticMap', backend_args=backend_args)]
train_pipeline = [
    dict(type='mmpanseg.LargeScaleJitter', size=image_size, scale_range=(0.5, 2.0)),
    dict(type='mmpanseg.SSDColorJitter'),
    dict(type='mmpanseg.PanopticCopyPaste', size=image_size, transforms=[
        dict(type='mmpanseg.LargeScaleJitter', size=image_size, scale_range=(0.25, 1.0)),
        dict(type='mmpanseg.SSDColorJitter')]),
    dict(type='mmpanseg.FilterLabeledPixels', min_pixels=4096, stride=4),
    dict(type='mmpanseg.PackPanopticInputs')]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='Resize', scale=image_size[::-1], keep_ratio=True),
    dict(type='mmpanseg.LoadPanopticMap', backend_args=backend_args),
    dict(type='mmpanseg.PackPanopticInputs')]

train_dataloader = dict(
    batch_size=1,
    dataset=dict(
        _delete_=True,
        type='mmpanseg.ResamplingMixDataset',
        dataset=dict(_base_.train_dataloader.dataset, pipeline=load_pipeline),
        pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
