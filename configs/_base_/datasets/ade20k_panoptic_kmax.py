# ADE20K panoptic with kMaX-DeepLab's augmentation: large-scale jitter 0.5 to 2.0 of 1281 x 1281.
_base_ = ['./ade20k_panoptic_640.py', '../pipelines/kmax.py']

kmax = _base_.pop('kmax')
kmax.train[0].scale_range = (0.5, 2.0)
kmax.train[2].transforms[0].scale_range = (0.25, 1.0)

train_dataloader = dict(dataset=dict(
    _delete_=True,
    type='mmpanseg.ResamplingMixDataset',
    dataset=dict(_base_.train_dataloader.dataset, pipeline=kmax.load),
    pipeline=kmax.train))
val_dataloader = dict(dataset=dict(pipeline=kmax.test))
test_dataloader = val_dataloader
del kmax
