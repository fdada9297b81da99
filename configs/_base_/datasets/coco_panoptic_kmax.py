# COCO panoptic with kMaX-DeepLab's augmentation: large-scale jitter 0.2 to 2.0 of 1281 x 1281.
_base_ = ['./coco_panoptic_lsj.py', '../pipelines/kmax.py']

kmax = _base_.pop('kmax')

train_dataloader = dict(dataset=dict(
    _delete_=True,
    type='mmpanseg.ResamplingMixDataset',
    dataset=dict(_base_.train_dataloader.dataset, pipeline=kmax.load),
    pipeline=kmax.train))
val_dataloader = dict(dataset=dict(pipeline=kmax.test))
test_dataloader = val_dataloader
del kmax
