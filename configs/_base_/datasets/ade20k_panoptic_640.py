# ADE20K panoptic: short side 0.5 to 2 x 640, crop of 640 x 640, color jitter, flip.
# tools/dataset_converters/ade20k.py writes the annotation.
_base_ = ['../dataloaders.py', '../pipelines/scale_crop.py', '../evaluators/panoptic.py']

data_root = 'data/ADEChallengeData2016/'
train_pipeline, test_pipeline = _base_.pop('train_pipeline'), _base_.pop('test_pipeline')
train_pipeline[2].scales = [(2560, 64 * k) for k in range(5, 21)]
train_pipeline[3].crop_size = train_pipeline[6].size = (640, 640)
test_pipeline[1].scale = (2560, 640)

train_dataloader = dict(dataset=dict(
    type='mmpanseg.ADE20KPanopticDataset',
    data_root=data_root,
    ann_file='ade20k_panoptic_train.json',
    data_prefix=dict(img='images/training/', seg='ade20k_panoptic_train/'),
    filter_cfg=dict(filter_empty_gt=True),
    pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(
    type='mmpanseg.ADE20KPanopticDataset',
    data_root=data_root,
    ann_file='ade20k_panoptic_val.json',
    data_prefix=dict(img='images/validation/', seg='ade20k_panoptic_val/'),
    pipeline=test_pipeline))
test_dataloader = val_dataloader
del data_root, train_pipeline, test_pipeline
