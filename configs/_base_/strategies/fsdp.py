# Parameters, gradients and optimizer states are divided among the processes (FSDP).
strategy = dict(
    type='FSDPStrategy',
    model_wrapper=dict(type='MMFullyShardedDataParallel', use_orig_params=True),
    # one checkpoint in the format of all other trainings
    state_dict_cfg='full')
