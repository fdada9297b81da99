# Mask2Former's augmentation for ADE20K, Cityscapes and Mapillary Vistas: short side 0.5 to 2 times
# that of the test images, crop, color jitter, flip, border (image value 128, map value -1 = void).
# A config uses it by
#   train_pipeline, test_pipeline = _base_.pop('train_pipeline'), _base_.pop('test_pipeline')
# and sets `scales` (long side, short side), `crop_size` and `size` (width, height) in training, and
# `scale` at test.
train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='mmpanseg.LoadPanopticMap', backend_args=None),
    dict(type='RandomChoiceResize', resize_type='Resize', keep_ratio=True),
    dict(type='RandomCrop', crop_type='absolute', allow_negative_crop=True),
    dict(type='mmpanseg.SSDColorJitter'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='Pad', pad_val=dict(img=(128, 128, 128), seg=-1)),
    dict(type='mmpanseg.PackPanopticInputs')]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='Resize', keep_ratio=True),
    dict(type='mmpanseg.LoadPanopticMap', backend_args=None),
    dict(type='mmpanseg.PackPanopticInputs')]
