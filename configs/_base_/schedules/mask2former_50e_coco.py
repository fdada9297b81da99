# 368 750 iterations of 16 images, 50 epochs of COCO. The steps are the released code's (8/9 and
# 26/27 of the run); the paper has 0.9 and 0.95. Published training used mixed precision: --amp.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05, betas=(0.9, 0.999), eps=1e-8),
    constructor='mmpanseg.ModuleTypeOptimConstructor',
    paramwise_cfg=dict(
        lr_mult={'backbone': 0.1},
        decayed_embeddings=['pixel_decoder.level_encoding'],
        undecayed=['relative_position_bias_table']),  # Swin's
    clip_grad=dict(max_norm=0.01, norm_type=2))
param_scheduler = dict(
    type='MultiStepLR', by_epoch=False, begin=0, end=368750, milestones=[327778, 355092],
    gamma=0.1)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=368750, val_interval=5000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=16)
