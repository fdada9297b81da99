"""What the command lines have in common."""
import os
import sys
from argparse import SUPPRESS, ArgumentParser, Namespace
from pathlib import Path
from typing import Callable

from mmdet.registry import RUNNERS
from mmengine.config import Config, DictAction
from mmengine.device import get_device
from mmengine.runner import Runner

from mmpanseg.checkpoints.sources import CheckpointError
from mmpanseg.engine.host_memory import keep_freed_memory
from mmpanseg.engine.launch import (UsageError, check_checkpoint, load_config, set_launcher,
                                    set_work_dir, use_compile_hook)


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
        UsageError: ``load_from`` names no checkpoint.
    """
    if cfg.get('load_from'):
        check_checkpoint(cfg.load_from)
    if get_device() == 'cpu':
        keep_freed_memory()
    set_launcher(cfg, launcher)
    use_compile_hook(cfg)
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)


def run_tool(main: Callable[[], None]) -> None:
    """Run a tool; mistakes of its user end in one line and exit status 1."""
    try:
        main()
    except (UsageError, CheckpointError) as error:
        sys.exit(f'{Path(sys.argv[0]).name}: error: {error}')
