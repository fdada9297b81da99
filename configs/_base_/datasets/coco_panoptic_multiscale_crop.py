# As coco_panoptic_multiscale.py, but half of the images are cropped between flip and resizing:
# short side 400, 500 or 600, then a window of 384 to 600 pixels a side.
_base_ = './coco_panoptic_multiscale.py'

pipeline = _base_.train_dataloader.dataset.pipeline
resize = pipeline[3]
pipeline[3] = dict(type='RandomChoice', transforms=[
    [resize],
    [dict(type='RandomChoiceResize', scales=[(4200, 400), (4200, 500), (4200, 600)],
          resize_type='Resize', keep_ratio=True),
     dict(type='RandomCrop', crop_size=(384, 600), crop_type='absolute_range',
          allow_negative_crop=True),
     resize]])
train_dataloader = dict(dataset=dict(pipeline=pipeline))
del pipeline, resize
