# A few COCO images with the files as the panoptic API's repository lays them out:
# panoptic_examples.json, panoptic_examples/*.png, input_images/*.jpg.
# Training and scoring use the same ones.
_base_ = './scenes_panoptic.py'

dataset_type = 'mmpanseg.CocoPanopticDataset'
data_root = 'data/coco_panoptic_sample/'

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='mmpanseg.LoadPanopticMap'),
    dict(type='Resize', scale=(640, 640), keep_ratio=True),
    dict(type='mmpanseg.PackPanopticInputs', drop_empty=True)]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(640, 640), keep_ratio=True),
    dict(type='mmpanseg.PackPanopticInputs')]
files = dict(
    type=dataset_type,
    data_root=data_root,
    ann_file='panoptic_examples.json',
    data_prefix=dict(img='input_images/', seg='panoptic_examples/'))

train_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=False,
    dataset=dict(pipeline=train_pipeline, **files))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline, **files))
test_dataloader = val_dataloader
