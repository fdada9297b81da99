# Cityscapes panoptic with kMaX-DeepLab's augmentation: large-scale jitter 0.5 to 2.0 of
# 1025 x 2049 (height, width).
_base_ = ['./cityscapes_panoptic.py', '../pipelines/kmax.py']

kmax = _base_.pop('kmax')
jitter, _, paste = kmax.train[:3]
jitter.update(size=(1025, 2049), scale_range=(0.5, 2.0))
paste.size = (1025, 2049)
paste.transforms[0].update(size=(1025, 2049), scale_range=(0.25, 1.0))
kmax.test[1].scale = (2049, 1025)  # width, height

train_dataloader = dict(
    batch_size=1,
    dataset=dict(
        _delete_=True,
        type='mmpanseg.ResamplingMixDataset',
        dataset=dict(_base_.train_dataloader.dataset, pipeline=kmax.load),
        pipeline=kmax.train))
val_dataloader = dict(dataset=dict(pipeline=kmax.test))
test_dataloader = val_dataloader
del kmax, jitter, _, paste
