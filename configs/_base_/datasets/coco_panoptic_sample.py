# A few COCO images with the files as the panoptic API's repository lays them out:
# panoptic_examples.json, panoptic_examples/*.png, input_images/*.jpg.
# Training and evaluation use the same images.
_base_ = './scenes_panoptic.py'

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
    type='mmpanseg.CocoPanopticDataset',
    data_root='data/coco_panoptic_sample/',
    ann_file='panoptic_examples.json',
    data_prefix=dict(img='input_images/', seg='panoptic_examples/'))

train_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=False,
    dataset=dict(pipeline=train_pipeline, **files))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline, **files))
test_dataloader = val_dataloader
del train_pipeline, test_pipeline, files
