# From scratch on small data: AdamW, polynomial decay to zero.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=3e-4, weight_decay=0.05, betas=(0.9, 0.999), eps=1e-8),
    constructor='mmpanseg.ModuleTypeOptimConstructor',
    paramwise_cfg=dict(decayed_embeddings=['pixel_decoder.level_encoding']),
    clip_grad=dict(max_norm=0.1, norm_type=2))
param_scheduler = dict(
    type='PolyLR', by_epoch=False, begin=0, end=900, power=0.9, eta_min=0.0)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=900, val_interval=900)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
