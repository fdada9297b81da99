"""Preparation of a run: reading its config, and setting it up for one or many processes."""
import ctypes
import os
import sys
from argparse import Namespace
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import is_distributed
from mmengine.runner import Runner

from mmpanseg.checkpoints.sources import foreign_file
from mmpanseg.checkpoints.weight_files import describe_broken_file
from mmpanseg.engine.command_line import UsageError, one_line
from mmpanseg.engine.process_group import check_group_options, start_group_on_cpu
from mmpanseg.engine.strategies import use_strategy
from mmpanseg.registry import RUNNERS

# Names and values of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_TOP_PAD = 64 << 20


def load_config(path: str, cfg_options: dict | None = None) -> Config:
    """Read a config file and apply overrides.

    Args:
        path: file name.
        cfg_options: {dotted key: value}, as mmengine's ``DictAction`` parses them.

    Returns:
        The config.

    Raises:
        UsageError: the file or one of its ``_base_`` files is missing or cannot be read, or an
            override does not fit the config.
    """
    if not Path(path).is_file():
        raise UsageError(f'config file {path} does not exist')
    try:
        cfg = Config.fromfile(path)
    except FileNotFoundError as error:
        raise UsageError(f'config file {path} refers to a missing file: {error}') from error
    except Exception as error:  # a config is a program
        raise UsageError(f'config file {path} cannot be read: {one_line(error)}') from error
    merge_overrides(cfg, cfg_options, path)
    return cfg


def merge_overrides(cfg: Config, cfg_options: dict | None, path: str) -> None:
    """Apply overrides to a config.

    Args:
        cfg: changed in place.
        cfg_options: see :func:`load_config`.
        path: name of the config, for the error text.

    Raises:
        UsageError: an override does not fit the config.
    """
    try:
        cfg.merge_from_dict(cfg_options or {})
    except (TypeError, KeyError, IndexError, ValueError, AttributeError) as error:
        raise UsageError(f'--cfg-options {" ".join(cfg_options or ())} do not fit {path}: '
                         f'{one_line(error)}') from error


def check_model_config(cfg: Config, path: str, *keys: str) -> None:
    """Check that a config describes a segmentor of this library.

    Args:
        cfg: the config.
        path: its file name, for the error text.
        keys: further top-level entries that the config must define.

    Raises:
        UsageError: an entry is missing; the text names the file and the entry.
    """
    if 'panoptic_head' not in (cfg.get('model') or {}):
        raise UsageError(f'{path} has no model.panoptic_head: it is not the config of a '
                         'segmentor of this library')
    for key in keys:
        if cfg.get(key) is None:
            raise UsageError(f'{path} has no {key}: name the config of a whole run')


def check_device(device: str | None) -> None:
    """Check that torch can use a device.

    Args:
        device: name such as ``'cuda:0'``; None selects the default device, which is not checked.

    Raises:
        UsageError: the name is no device, or the machine lacks the device.
    """
    if device is None:
        return
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(f'--device {device} cannot be used here ({one_line(error)}): use cpu, or '
                         'omit the option') from error


def check_checkpoint(path: str, config: str = 'CONFIG') -> str:
    """Check that a checkpoint is a URL or an existing file.

    Args:
        path: path or URL.
        config: path of the config, for error texts.

    Returns:
        The path, unchanged.

    Raises:
        UsageError: the file is missing, its first bytes show that it is no complete checkpoint, or
            only tools/model_converters/convert.py reads its format.
    """
    if '://' in path:
        if text := foreign_file(path, config):
            raise UsageError(text)
        return path
    if Path(path).is_dir():
        raise UsageError(f'checkpoint {path} is a folder; tools/model_converters/convert.py '
                         'converts a folder of transformers to a checkpoint')
    if not Path(path).is_file():
        raise UsageError(f'checkpoint {path} does not exist')
    kind = describe_broken_file(path)
    if kind:
        raise UsageError(f'{path} is not a checkpoint, or not all of one: {kind}')
    if text := foreign_file(path, config):
        raise UsageError(text)
    return path


def set_work_dir(cfg: Config, work_dir: str | None, config_path: str) -> None:
    """Set the output folder: ``work_dir``, else the config's, else work_dirs/{config name}."""
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(config_path).stem)


def set_resume(cfg: Config, resume: str | None) -> None:
    """Continue a training from a checkpoint.

    Args:
        cfg: changed in place.
        resume: ``'auto'`` for the latest checkpoint of the work dir, the path of a checkpoint, or
            None to start a new training.

    Raises:
        UsageError: the checkpoint is missing.
    """
    if resume is None:
        return
    cfg.resume = True
    cfg.load_from = None if resume == 'auto' else check_checkpoint(resume)


def use_amp(cfg: Config) -> None:
    """Train with automatic mixed precision: float16 with loss scaling, on a CPU bfloat16.

    Raises:
        UsageError: the config defines another type of optimizer wrapper.
    """
    kind = cfg.optim_wrapper.get('type', 'OptimWrapper')
    bf16 = 'mmpanseg.BFloat16OptimWrapper'
    if kind not in ('OptimWrapper', 'AmpOptimWrapper', bf16):
        raise UsageError('--amp needs optim_wrapper.type OptimWrapper, AmpOptimWrapper or '
                         f'{bf16}, the config has {kind}')
    if kind == bf16 or not torch.cuda.is_available():
        cfg.optim_wrapper.type = bf16
        cfg.optim_wrapper.pop('loss_scale', None)
        return
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')


def has_fast_bf16() -> bool:
    """Check whether torch reports instructions for bfloat16; older versions report none."""
    capabilities: dict[str, bool] = getattr(torch.cpu, 'get_capabilities', dict)()
    return bool(capabilities.get('amx_bf16') or capabilities.get('avx512_bf16'))


def use_compile_hook(cfg: Config) -> None:
    """Replace the config's ``compile`` (True, or a dict of options) by :class:`CompileHook`.

    Raises:
        UsageError: it is neither a bool nor a dict.
    """
    options = cfg.pop('compile', None)
    if options is None or options is False:
        return
    if options is True:
        options = dict()
    if not isinstance(options, dict):
        raise UsageError(f'compile={options!r} must be True, False or a dict of options of '
                         'torch.nn.Module.compile, e.g. compile.dynamic=False')
    hook = dict(type='mmpanseg.CompileHook', **options)
    cfg.custom_hooks = [*cfg.get('custom_hooks', []), hook]


def use_auto_scale_lr(cfg: Config) -> None:
    """Scale the learning rate with the number of images per step.

    Raises:
        UsageError: the config does not define the number of images of its learning rate.
    """
    if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
        raise UsageError('--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=...) in the '
                         'config: the number of images per step that the learning rate is for')
    cfg.auto_scale_lr.enable = True


def set_launcher(cfg: Config, launcher: str) -> None:
    """Set the launcher; without an accelerator, create the process group (gloo by default).

    mmengine's own setup selects a CUDA device for each process, also on a machine without one. It
    is skipped when the process group exists already. Both read ``env_cfg.dist_cfg``.

    Args:
        cfg: changed in place.
        launcher: ``'none'``, ``'pytorch'``, ``'slurm'`` or ``'mpi'``.

    Raises:
        UsageError: the launcher's environment variables are missing, or it needs GPUs;
            ``env_cfg.dist_cfg`` is wrong.
    """
    cfg.launcher = launcher
    if launcher == 'none':
        return
    check_group_options(cfg)
    if launcher == 'pytorch':
        missing = [name for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR',
                                     'MASTER_PORT') if name not in os.environ]
        if missing:
            raise UsageError(f'--launcher pytorch without {", ".join(missing)} in the '
                             'environment: start with tools/dist_train.sh, tools/dist_test.sh '
                             'or torchrun')
    if get_device() != 'cpu':
        return
    if launcher != 'pytorch':
        raise UsageError(f'--launcher {launcher} needs GPUs, and torch sees none: '
                         'use tools/dist_train.sh or tools/dist_test.sh')
    if not is_distributed():
        start_group_on_cpu(cfg)
    # DistributedDataParallel refuses the device ids of mmengine's default on a CPU.
    wrapper = cfg.get('model_wrapper_cfg') or dict(
        type='MMDistributedDataParallel', broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False))
    cfg.model_wrapper_cfg = dict(wrapper, device_ids=None)


def read_config(args: Namespace) -> Config:
    """Read the config of parsed arguments, with their overrides and output folder.

    Args:
        args: with ``config`` and the options of :func:`add_run_options`.

    Returns:
        The config.

    Raises:
        UsageError: see :func:`load_config`.
    """
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = load_config(args.config, args.cfg_options)
    set_work_dir(cfg, args.work_dir, args.config)
    if getattr(args, 'strict_meta', False):
        cfg.strict_meta = True
    return cfg


def build_runner(cfg: Config, launcher: str) -> Runner:
    """Build the runner of a config in a process group of the launcher.

    Args:
        cfg: config of a whole run; changed in place.
        launcher: see :func:`set_launcher`.

    Returns:
        The runner, :class:`PanopticRunner` unless the config defines ``runner_type``.

    Raises:
        UsageError: the config has no model, or ``load_from`` is no checkpoint, see
            :class:`PanopticRunner`.
    """
    if get_device() == 'cpu':
        keep_freed_memory()
    set_launcher(cfg, launcher)
    use_compile_hook(cfg)
    if 'model' not in cfg:
        raise UsageError(f'{cfg.filename} has no model: name the config of a whole run')
    use_strategy(cfg)
    if 'runner_type' not in cfg:
        cfg.runner_type = 'mmpanseg.PanopticRunner'
    return RUNNERS.build(cfg)


def keep_freed_memory() -> bool:
    """Let the C library reuse the memory of freed tensors instead of returning it to the system.

    Each step of a model on a CPU allocates and frees the same large tensors. By default each of
    them consists of new pages, and the first access to a page costs more than the arithmetic on
    it, above all in a virtual machine. The process keeps its peak memory until it ends.

    Environment variables of the same purpose (``MALLOC_...``, ``GLIBC_TUNABLES``) take precedence.
    They are no substitute: the C library reads them before Python starts.

    Returns:
        True if all options were set; False with such variables, and with another C library than
        glibc.
    """
    if any(name.startswith('MALLOC_') or name == 'GLIBC_TUNABLES' for name in os.environ):
        return False
    if not sys.platform.startswith('linux'):
        return False
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    if mallopt is None:
        return False
    return all([mallopt(_M_MMAP_MAX, 0), mallopt(_M_TRIM_THRESHOLD, -1),
                mallopt(_M_TOP_PAD, _TOP_PAD)])
