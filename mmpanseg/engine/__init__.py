from mmpanseg.engine.command_line import (
                           DictAction,
                           add_run_options,
                           build_runner,
                           positive,
                           read_config,
                           run_tool,
)
from mmpanseg.engine.dump_results import DumpResults
from mmpanseg.engine.hooks import ClassConsistencyHook
from mmpanseg.engine.launch import (
                           UsageError,
                           check_checkpoint,
                           check_device,
                           check_model_config,
                           has_fast_bf16,
                           load_config,
                           set_launcher,
                           set_resume,
                           set_work_dir,
                           use_amp,
                           use_auto_scale_lr,
                           use_compile_hook,
                           user_mistakes,
)
from mmpanseg.engine.optimizers import BFloat16OptimWrapper, ModuleTypeOptimConstructor
from mmpanseg.engine.runner import PanopticRunner

__all__ = ['BFloat16OptimWrapper', 'ClassConsistencyHook', 'DictAction', 'DumpResults',
           'ModuleTypeOptimConstructor', 'PanopticRunner', 'UsageError', 'add_run_options',
           'build_runner', 'check_checkpoint', 'check_device', 'check_model_config',
           'has_fast_bf16', 'load_config', 'positive', 'read_config', 'run_tool', 'set_launcher',
           'set_resume', 'set_work_dir', 'use_amp', 'use_auto_scale_lr', 'use_compile_hook',
           'user_mistakes']
