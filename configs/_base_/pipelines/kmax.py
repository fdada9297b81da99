# kMaX-DeepLab's augmentation: large-scale jitter, color jitter, and panoptic copy-paste of a second
# image at half the scale. The sizes and scales are COCO's; at test the longer side has 1281 pixels.
# A config uses it by
#   kmax = _base_.pop('kmax')
# `train` is the pipeline of a ResamplingMixDataset, `load` that of the data set inside it, `test`
# that of the test images.
image_size = (1281, 1281)  # height, width
kmax = dict(
    load=[
        dict(type='LoadImageFromFile', backend_args=None),
        dict(type='mmpanseg.LoadPanopticMap', backend_args=None)],
    train=[
        dict(type='mmpanseg.LargeScaleJitter', size=image_size, scale_range=(0.2, 2.0)),
        dict(type='mmpanseg.SSDColorJitter'),
        dict(type='mmpanseg.PanopticCopyPaste', size=image_size, transforms=[
            dict(type='mmpanseg.LargeScaleJitter', size=image_size, scale_range=(0.1, 1.0)),
            dict(type='mmpanseg.SSDColorJitter')]),
        dict(type='mmpanseg.FilterLabeledPixels', min_pixels=4096, stride=4),
        dict(type='mmpanseg.PackPanopticInputs')],
    test=[
        dict(type='LoadImageFromFile', backend_args=None),
        dict(type='Resize', scale=image_size, keep_ratio=True),
        dict(type='mmpanseg.LoadPanopticMap', backend_args=None),
        dict(type='mmpanseg.PackPanopticInputs')])
del image_size
