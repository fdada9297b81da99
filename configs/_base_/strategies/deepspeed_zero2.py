# Optimizer states and gradients are divided among the processes (DeepSpeed ZeRO, stage 2).
strategy = dict(
    type='DeepSpeedStrategy',
    zero_optimization=dict(stage=2, overlap_comm=True, contiguous_gradients=True),
    bf16=dict(enabled=True))
