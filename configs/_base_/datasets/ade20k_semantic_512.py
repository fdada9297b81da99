# ADE20K semantic, 150 classes: short side 0.5 to 2 x 512, crop of 512 x 512, color jitter, flip.
_base_ = './ade20k_semantic_640.py'

train_pipeline = _base_.train_dataloader.dataset.pipeline
train_pipeline[2].scales = [(2048, int(51.2 * k)) for k in range(5, 21)]
train_pipeline[3].crop_size = train_pipeline[6].size = (512, 512)
test_pipeline = _base_.val_dataloader.dataset.pipeline
test_pipeline[1].scale = (2048, 512)

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
del train_pipeline, test_pipeline
