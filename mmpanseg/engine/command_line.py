"""What the command lines have in common."""
import os
import sys
from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable
from pathlib import Path

from mmengine.config import Config
from mmengine.config import DictAction as _DictAction
from mmengine.device import get_device
from mmengine.runner import Runner

from mmpanseg.checkpoints.sources import CheckpointError
from mmpanseg.engine.host_memory import keep_freed_memory
from mmpanseg.engine.launch import (
    UsageError,
    load_config,
    one_line,
    set_launcher,
    set_work_dir,
    use_compile_hook,
)
from mmpanseg.registry import RUNNERS


class DictAction(_DictAction):
    """mmengine's overrides of a config, KEY=VALUE; anything else is a mistake in the call."""

    def __call__(self, parser: ArgumentParser, namespace: Namespace, values: list[str],
                 *args: object) -> None:
        for value in values:
            if '=' not in value:
                raise UsageError(f'--cfg-options {value}: write KEY=VALUE, without spaces around =')
        super().__call__(parser, namespace, values, *args)


def positive(text: str) -> int:
    """Kind of an option that counts something, at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f'must be a number of at least 1, got {text}')
    return int(text)


def add_run_options(parser: ArgumentParser) -> None:
    """Add the options of every tool that runs a config: its folder, overrides, launcher."""
    parser.add_argument('--work-dir', help='folder for logs and results '
                        '(default: work_dirs/{name of the config})')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='override config entries, e.g. train_cfg.max_iters=100')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'],
                        default='none', help='how the processes were started')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=SUPPRESS)


def read_config(args: Namespace) -> Config:
    """The config that the arguments name, with their overrides and work dir."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = load_config(args.config, args.cfg_options)
    set_work_dir(cfg, args.work_dir, args.config)
    return cfg


def build_runner(cfg: Config, launcher: str) -> Runner:
    """The runner of a config, with the processes of the launcher connected.

    Raises:
        UsageError: ``load_from`` names no checkpoint, see :class:`PanopticRunner`.
    """
    if get_device() == 'cpu':
        keep_freed_memory()
    set_launcher(cfg, launcher)
    use_compile_hook(cfg)
    if 'model' not in cfg:
        raise UsageError(f'{cfg.filename} has no model: name the config of a whole run')
    if 'runner_type' not in cfg:
        cfg.runner_type = 'mmpanseg.PanopticRunner'
    return RUNNERS.build(cfg)


def run_tool(main: Callable[[], None]) -> None:
    """Run a tool; mistakes of its user, missing files too, end in one line and exit status 1."""
    try:
        main()
    except (UsageError, CheckpointError, FileNotFoundError) as error:
        text = str(error) if isinstance(error, UsageError) else one_line(error)
        sys.exit(f'{Path(sys.argv[0]).name}: error: {text}')
