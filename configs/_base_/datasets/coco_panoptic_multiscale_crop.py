# As coco_panoptic_multiscale.py, but half of the images are cropped in between: short side 400, 500
# or 600, then a window of 384 - 600 pixels a side, then the sizes of the others.
_base_ = './coco_panoptic_multiscale.py'

backend_args = None
resize = dict(
    type='RandomChoiceResize', scales=[(1333, 32 * k) for k in range(15, 26)],
    resize_type='Resize', keep_ratio=True)
train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='mmpanseg.LoadPanopticMap', backend_args=backend_args),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomChoice', transforms=[
        [resize],
        [dict(type='RandomChoiceResize', scales=[(4200, 400), (4200, 500), (4200, 600)],
              resize_type='Resize', keep_ratio=True),
         dict(type='RandomCrop', crop_size=(384, 600), crop_type='absolute_range',
              allow_negative_crop=True),
         resize]]),
    dict(type='mmpanseg.PackPanopticInputs', drop_empty=True)]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
