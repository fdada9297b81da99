"""Runs of a very small model in this process."""
import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
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
