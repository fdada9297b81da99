# 5000 steps of 2 images from a model that was trained on other data: 100 epochs of 100 images. The
# learning rate is the 1e-4 for 16 images, reduced by about the square root of 8; a short warm-up,
# since the classifier starts anew.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=4e-5, weight_decay=0.05, betas=(0.9, 0.999), eps=1e-8),
    constructor='mmpanseg.ModuleTypeOptimConstructor',
    paramwise_cfg=dict(
        lr_mult={'backbone': 0.1},
        decayed_embeddings=['pixel_decoder.level_encoding']),
    clip_grad=dict(max_norm=0.01, norm_type=2))
param_scheduler = [
    dict(type='LinearLR', by_epoch=False, begin=0, end=100, start_factor=0.01),
    dict(type='MultiStepLR', by_epoch=False, begin=0, end=5000, milestones=[4500], gamma=0.1)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=5000, val_interval=500)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=2)
