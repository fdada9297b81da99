"""Runner, hooks, optimizers and command lines.

The names below are imported from their modules on first access: a command line needs none of the
modules that import torch until its arguments are parsed.
"""
import importlib
from typing import TYPE_CHECKING, Any

from mmpanseg.engine.command_line import (
    DictAction,
    UsageError,
    add_config_options,
    add_model_options,
    add_run_options,
    add_strict_meta,
    add_trust_option,
    import_mmdet,
    positive,
    run_tool,
    user_mistakes,
)

if TYPE_CHECKING:
    from mmpanseg.engine.hooks import ClassConsistencyHook
    from mmpanseg.engine.launch import (
        build_runner,
        check_checkpoint,
        check_device,
        check_model_config,
        has_fast_bf16,
        load_config,
        read_config,
        set_launcher,
        set_resume,
        set_work_dir,
        use_amp,
        use_auto_scale_lr,
        use_compile_hook,
    )
    from mmpanseg.engine.optimizers import BFloat16OptimWrapper, ModuleTypeOptimConstructor
    from mmpanseg.engine.runner import DumpResults, PanopticRunner

_MODULES = {
    **dict.fromkeys((
        'build_runner', 'check_checkpoint', 'check_device', 'check_model_config', 'has_fast_bf16',
        'load_config', 'read_config', 'set_launcher', 'set_resume', 'set_work_dir', 'use_amp',
        'use_auto_scale_lr', 'use_compile_hook'), 'launch'),
    'BFloat16OptimWrapper': 'optimizers', 'ModuleTypeOptimConstructor': 'optimizers',
    'ClassConsistencyHook': 'hooks', 'DumpResults': 'runner',
    'PanopticRunner': 'runner'}

__all__ = ['DictAction', 'UsageError', 'add_config_options', 'add_model_options',
           'add_run_options', 'add_strict_meta', 'add_trust_option', 'import_mmdet', 'positive',
           'run_tool',
           'user_mistakes', *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f'mmpanseg.engine.{_MODULES[name]}'), name)
    raise AttributeError(f'module mmpanseg.engine has no attribute {name!r}')
