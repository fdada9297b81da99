# 150 000 iterations of 64 images, 81 epochs of COCO. Linear warm-up, then polynomial decay counted
# from the very start: at the end of the warm-up the rate drops by the factor in the second line.
# Published training used mixed precision: --amp.
max_iters = 150000
warmup = 5000
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=5e-4, weight_decay=0.05, betas=(0.9, 0.999), eps=1e-8),
    constructor='mmpanseg.ModuleTypeOptimConstructor',
    paramwise_cfg=dict(lr_mult={'backbone': 0.1}, undecayed=['.bias', '.gamma']))
param_scheduler = [
    dict(type='LinearLR', by_epoch=False, begin=0, end=warmup + 1, start_factor=0.001),
    dict(type='MultiStepLR', by_epoch=False, milestones=[warmup],
         gamma=(1 - warmup / max_iters) ** 0.9),
    dict(type='PolyLR', by_epoch=False, begin=warmup, end=max_iters + 1, power=0.9, eta_min=0.0)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=5000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=64)
del max_iters, warmup
