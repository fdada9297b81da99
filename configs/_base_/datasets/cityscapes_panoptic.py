# Cityscapes panoptic: short side 0.5 to 2 x 1024, crop of 1024 x 512 (width, height), color jitter,
# flip. tools/dataset_converters/cityscapes.py writes the annotation.
_base_ = ['../dataloaders.py', '../pipelines/scale_crop.py', '../evaluators/panoptic.py']

data_root = 'data/cityscapes/'
train_pipeline, test_pipeline = _base_.pop('train_pipeline'), _base_.pop('test_pipeline')
train_pipeline[2].scales = [(4096, int(102.4 * k)) for k in range(5, 21)]
train_pipeline[3].crop_size = (1024, 512)
del train_pipeline[6]  # the images of a step are padded to a common size by the model alone
test_pipeline[1].scale = (2048, 1024)

train_dataloader = dict(dataset=dict(
    type='mmpanseg.CityscapesPanopticDataset',
    data_root=data_root,
    ann_file='annotations/panoptic_train.json',
    data_prefix=dict(img='leftImg8bit/train/', seg='annotations/panoptic_train/'),
    filter_cfg=dict(filter_empty_gt=True),
    pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(
    type='mmpanseg.CityscapesPanopticDataset',
    data_root=data_root,
    ann_file='annotations/panoptic_val.json',
    data_prefix=dict(img='leftImg8bit/val/', seg='annotations/panoptic_val/'),
    pipeline=test_pipeline))
test_dataloader = val_dataloader
del data_root, train_pipeline, test_pipeline
