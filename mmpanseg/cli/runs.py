"""What the verbs ``train`` and ``test`` share: options of a run, its config, its processes."""
from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mmpanseg.cli import options
from mmpanseg.cli.verb import Verb
from mmpanseg.engine.command_line import UsageError, one_line, run_tool
from mmpanseg.engine.process_errors import number_of_processes, rank_of_process
from mmpanseg.engine.processes import run_verb_in_processes

if TYPE_CHECKING:
    from mmengine.config import Config

    from mmpanseg.engine.live_screen import LiveScreen

_ARGUMENTS = 'mmpanseg.arguments'
_PROCESSES = ('--gpus', '--processes')


class RunVerb(Verb):
    """A verb that may run in several processes, with the options of every run."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for add in _RUN_OPTIONS:
            add(self)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)


_RUN_OPTIONS = (
    click.option('--work-dir', metavar='FOLDER', help='Folder for logs and results.  '
                 '[default: work_dirs/{name of the config}]'),
    options.cfg_options, options.trust_checkpoint, options.strict_meta,
    click.option(*_PROCESSES, 'processes', type=click.IntRange(1), metavar='N',
                 help='Start N processes on this machine, one for each GPU.'),
    click.option('--launcher', type=click.Choice(['none', 'pytorch', 'slurm', 'mpi']),
                 default='none', show_default=True,
                 help='Program that has started the processes, e.g. torchrun.'),
    click.option('--local-rank', '--local_rank', type=int, default=0, hidden=True))


def run(main: Callable[[], None], processes: int | None, launcher: str) -> None:
    """Run a verb in this process, or start processes that run it.

    Args:
        main: does the work of one process.
        processes: number of processes to start; None for this one.
        launcher: of the command line.

    Raises:
        UsageError: processes shall be started in a process of a launcher.
        SystemExit: a process has failed, with one line.
    """
    ctx = click.get_current_context()
    if processes is not None:
        if launcher != 'none':
            raise UsageError('--gpus starts the processes itself: omit it, or --launcher')
        run_verb_in_processes(str(ctx.info_name), _without_processes(ctx.meta[_ARGUMENTS]),
                              processes)
    elif number_of_processes() == 1:
        main()
    else:
        run_tool(main, ctx.command_path)


def _without_processes(arguments: list[str]) -> list[str]:
    """Leave out the number of processes."""
    kept: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument in _PROCESSES:
            next(rest, None)
        elif not argument.startswith(tuple(f'{name}=' for name in _PROCESSES)):
            kept.append(argument)
    return kept


def config_path(config: str) -> str:
    """Find a config.

    Args:
        config: path of a file, or the name of a config of the library or its unique start.

    Raises:
        UsageError: there is no such file and no such name.
    """
    from mmpanseg.hub.config_files import config_paths, find_configs, select_name

    if config.endswith('.py') or os.sep in config or Path(config).is_file():
        return config  # read_config() reports a missing file
    paths = config_paths(find_configs())
    return str(paths[select_name(config, paths)])


def set_up_config(cfg: Config, name: str, work_dir: str | None, strict_meta: bool,
                  local_rank: int) -> None:
    """Set work dir and checks of a run.

    Args:
        cfg: changed in place.
        name: path or name of the config, for the default work dir.
        work_dir: of the command line.
        strict_meta: of the command line.
        local_rank: of the command line; ``LOCAL_RANK`` of the environment takes precedence.

    Raises:
        UsageError: the work dir cannot be written.
    """
    from mmpanseg.engine.launch import set_work_dir

    os.environ.setdefault('LOCAL_RANK', str(local_rank))
    set_work_dir(cfg, work_dir, name)
    if strict_meta:
        cfg.strict_meta = True
    try:
        Path(cfg.work_dir).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f'work dir {cfg.work_dir} cannot be created ({one_line(error)}): '
                         'choose another --work-dir') from error
    if not os.access(cfg.work_dir, os.W_OK | os.X_OK):
        raise UsageError(f'work dir {cfg.work_dir} cannot be written: choose another --work-dir')


def run_screen(name: str, kind: str) -> LiveScreen:
    """Create the screen of a run in this process.

    Args:
        name: of the config.
        kind: ``train`` or ``test``.
    """
    from mmpanseg.engine.live_screen import LiveScreen
    from mmpanseg.engine.live_state import RunState

    return LiveScreen(RunState(name=name, kind=kind), shown=rank_of_process() == 0)
