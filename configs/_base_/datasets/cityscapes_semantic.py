# Cityscapes semantic, 19 classes, straight from the download: short side 0.5 - 2 x 1024, crop of
# 512 x 1024, color jitter, flip.
_base_ = '../dataloaders.py'

dataset_type = 'mmpanseg.CityscapesSemanticDataset'
data_root = 'data/cityscapes/'
crop_size = (1024, 512)  # width, height
backend_args = None

train_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='mmpanseg.LoadSemanticMap', backend_args=backend_args),
    dict(type='RandomChoiceResize', scales=[(4096, int(102.4 * k)) for k in range(5, 21)],
         resize_type='Resize', keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, crop_type='absolute', allow_negative_crop=True),
    dict(type='mmpanseg.SSDColorJitter'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmpanseg.PackPanopticInputs', drop_empty=True)]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=backend_args),
    dict(type='Resize', scale=(2048, 1024), keep_ratio=True),
    dict(type='mmpanseg.LoadSemanticMap', backend_args=backend_args),
    dict(type='mmpanseg.PackPanopticInputs')]

train_dataloader = dict(dataset=dict(
    type=dataset_type,
    data_root=data_root,
    data_prefix=dict(img='leftImg8bit/train/', seg='gtFine/train/'),
    pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(
    type=dataset_type,
    data_root=data_root,
    data_prefix=dict(img='leftImg8bit/val/', seg='gtFine/val/'),
    pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='mmpanseg.SemanticMetric')
test_evaluator = val_evaluator
