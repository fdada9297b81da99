"""What the command lines share: reading a config, and preparing it for one or many processes."""
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import is_distributed

from mmpanseg.checkpoints.weight_files import describe_broken_file


class UsageError(Exception):
    """A mistake in a command line, told in one line."""


def load_config(path: str, cfg_options: dict | None = None) -> Config:
    """The config file with overrides applied.

    Raises:
        UsageError: the file, or one of its `_base_` files, is missing or no config, or an override
            does not fit.
    """
    if not Path(path).is_file():
        raise UsageError(f'config file {path} does not exist')
    try:
        cfg = Config.fromfile(path)
    except FileNotFoundError as error:
        raise UsageError(f'config file {path} refers to a missing file: {error}') from error
    except Exception as error:  # a config is a program
        raise UsageError(f'config file {path} cannot be read: {one_line(error)}') from error
    try:
        cfg.merge_from_dict(cfg_options or {})
    except (TypeError, KeyError, IndexError, ValueError, AttributeError) as error:
        raise UsageError(f'--cfg-options {" ".join(cfg_options)} do not fit {path}: '
                         f'{one_line(error)}') from error
    return cfg


def one_line(error: Exception) -> str:
    """Kind and text of an error, without line breaks; of the kinds that speak for themselves, the
    text.
    """
    text = ' '.join(str(error.args[0] if len(error.args) == 1 else error).split())
    plain = isinstance(error, (ValueError, OSError)) and text
    return text if plain else f'{type(error).__name__}: {text}'


@contextmanager
def user_mistakes() -> Iterator[None]:
    """While a run is set up: what a config asks for and cannot have ends in one line.

    Raises:
        UsageError: instead of the error.
    """
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError, OSError, ImportError) as error:
        raise UsageError(one_line(error)) from error


def check_model_config(cfg: Config, path: str, *keys: str) -> None:
    """See whether a config is one of this library's models, with further entries.

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
    """See whether torch can use a device; None is for the default.

    Raises:
        UsageError: it is no device, or not there.
    """
    if device is None:
        return
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(f'--device {device} cannot be used here ({one_line(error)}): give cpu, or '
                         'leave it out') from error


def check_checkpoint(path: str) -> str:
    """The path of a checkpoint, if it is a URL or an existing file.

    Raises:
        UsageError: the file is missing, or certainly no whole checkpoint.
    """
    if '://' in path:
        return path
    if Path(path).is_dir():
        raise UsageError(f'checkpoint {path} is a folder; tools/model_converters/convert.py makes '
                         'a checkpoint of a folder of transformers')
    if not Path(path).is_file():
        raise UsageError(f'checkpoint {path} does not exist')
    kind = describe_broken_file(path)
    if kind:
        raise UsageError(f'{path} is not a checkpoint, or not all of one: {kind}')
    return path


def set_work_dir(cfg: Config, work_dir: str | None, config_path: str) -> None:
    """Output folder: the given one, else the config's, else work_dirs/{config name}."""
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(config_path).stem)


def set_resume(cfg: Config, resume: str | None) -> None:
    """Continue from a checkpoint: 'auto' (the latest in the work dir), a path, or None (do not).

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
        UsageError: the config has an optimiser wrapper of another kind.
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
    """Whether the processor has instructions for bfloat16 (older versions of torch do not tell)."""
    capabilities = getattr(torch.cpu, 'get_capabilities', dict)()
    return bool(capabilities.get('amx_bf16') or capabilities.get('avx512_bf16'))


def use_compile_hook(cfg: Config) -> None:
    """Hand the config's ``compile`` (True, or a dict of options) to this library's hook.

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
        UsageError: the config does not say for how many images its learning rate is meant.
    """
    if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
        raise UsageError('--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=...) in the '
                         'config: the number of images per step that the learning rate is for')
    cfg.auto_scale_lr.enable = True


def set_launcher(cfg: Config, launcher: str) -> None:
    """Set how processes were started; without any accelerator, connect them here (gloo).

    mmengine's own set-up selects a CUDA device for each process, also where there is none; it is
    skipped when the process group exists already.

    Raises:
        UsageError: the launcher's environment variables are missing, or it needs GPUs.
    """
    cfg.launcher = launcher
    if launcher == 'none':
        return
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
        torch.distributed.init_process_group(backend='gloo')
    # The wrapper must not be given the device ids that mmengine's default passes.
    wrapper = cfg.get('model_wrapper_cfg') or dict(
        type='MMDistributedDataParallel', broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False))
    cfg.model_wrapper_cfg = dict(wrapper, device_ids=None)
