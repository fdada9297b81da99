# COCO panoptic as kMaX-DeepLab reads it: large-scale jitter 0.2 - 2.0 of 1281 x 1281, color
# jitter, and panoptic copy-paste of a second image at half the scale. In testing the longer side
# has 1281 pixels.
_base_ = './coco_panoptic_lsj.py'

image_size = (1281, 1281)
backend_args = None

load_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='mmpanseg.LoadPanopticMap', backend_args=backend_args)]
train_pipeline = [
    dict(type='mmpanseg.LargeScaleJitter', size=image_size, scale_range=(0.2, 2.0)),
    dict(type='mmpanseg.SSDColorJitter'),
    dict(type='mmpanseg.PanopticCopyPaste', size=image_size, transforms=[
        dict(type='mmpanseg.LargeScaleJitter', size=image_size, scale_range=(0.1, 1.0)),
        dict(type='mmpanseg.SSDColorJitter')]),
    dict(type='mmpanseg.FilterLabeledPixels', min_pixels=4096, stride=4),
    dict(type='mmpanseg.PackPanopticInputs')]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='Resize', scale=image_size, keep_ratio=True),
    dict(type='mmpanseg.LoadPanopticMap', backend_args=backend_args),
    dict(type='mmpanseg.PackPanopticInputs')]

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='mmpanseg.ResamplingMixDataset',
        dataset=dict(_base_.train_dataloader.dataset, pipeline=load_pipeline),
        pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
