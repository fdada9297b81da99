"""Runs of a very small model in this process, and in processes that it forks."""
import itertools
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmpanseg.engine import build_runner, load_config

sys.path.insert(0, str(Path(__file__).parent))  # kill_tracer.py

_NUMBERS = itertools.count()


@pytest.fixture
def tiny_run(tiny_config: Path, tmp_path: Path) -> Callable[..., Runner]:
    """Builds a runner of the tiny config with overrides, keys with __ for dots."""
    def build(change: Callable[[Config], None] = lambda cfg: None, **options: object) -> Runner:
        cfg = load_config(str(tiny_config), {
            key.replace('__', '.'): value for key, value in options.items()})
        cfg.work_dir = str(tmp_path / 'run')
        cfg.randomness = dict(seed=0)
        cfg.experiment_name = f'{tmp_path.name}{next(_NUMBERS)}'
        change(cfg)
        return build_runner(cfg, 'none')
    return build


@pytest.fixture
def log_of() -> Callable[[Runner], str]:
    """Text of a runner's log file."""
    def read(runner: Runner) -> str:
        path, = Path(runner.log_dir).glob('*.log')
        return path.read_text()
    return read


@pytest.fixture
def in_child() -> Callable[[Callable[[], object]], tuple[int, str]]:
    """Calls a function in a forked process of a group of its own: its exit status, and output."""
    def run(function: Callable[[], object]) -> tuple[int, str]:
        torch.set_num_threads(1)
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            status = 1
            try:
                os.setpgid(0, 0)
                for descriptor in (1, 2):
                    os.dup2(writer, descriptor)
                sys.stdout = sys.__stdout__ = open(1, 'w', buffering=1)
                sys.stderr = sys.__stderr__ = open(2, 'w', buffering=1)
                function()
                status = 0
            except SystemExit as error:
                status = error.code if isinstance(error.code, int) else 1
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        os.close(writer)
        with os.fdopen(reader, errors='replace') as pipe:
            output = pipe.read()
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status), output
    return run
