default_scope = 'mmdet'
# mmengine's runner with this library's checks and summary, in mmdet's tools as well
runner_type = 'mmpanseg.PanopticRunner'
custom_imports = dict(imports=['mmpanseg'], allow_failed_imports=False)

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    # scores are logged at the training step, as losses are
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=5000, max_keep_ckpts=3),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='mmpanseg.PanopticVisualizationHook'),
    # here, since a config's own custom_hooks replace the list below
    class_consistency=dict(type='mmpanseg.ClassConsistencyHook'),
    load_summary=dict(type='mmpanseg.LoadSummaryHook'))
custom_hooks = []

env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))

visualizer = dict(
    type='mmpanseg.PanopticVisualizer',
    name='visualizer',
    vis_backends=[dict(type='LocalVisBackend')])
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=False)

log_level = 'INFO'
load_from = None
resume = False
