from .bf16_optim_wrapper import BFloat16OptimWrapper
from .command_line import (DictAction, add_run_options, build_runner, positive, read_config,
                           run_tool)
from .dump_results import DumpResults
from .hooks import ClassConsistencyHook
from .launch import (UsageError, check_checkpoint, check_device, check_model_config,
                     has_fast_bf16, load_config, set_launcher, set_resume, set_work_dir, use_amp,
                     use_auto_scale_lr, use_compile_hook, user_mistakes)
from .optim_constructor import ModuleTypeOptimConstructor
from .runner import PanopticRunner

__all__ = ['BFloat16OptimWrapper', 'ClassConsistencyHook', 'DictAction', 'DumpResults',
           'ModuleTypeOptimConstructor', 'PanopticRunner', 'UsageError', 'add_run_options',
           'build_runner', 'check_checkpoint', 'check_device', 'check_model_config',
           'has_fast_bf16', 'load_config', 'positive', 'read_config', 'run_tool', 'set_launcher',
           'set_resume', 'set_work_dir', 'use_amp', 'use_auto_scale_lr', 'use_compile_hook',
           'user_mistakes']
