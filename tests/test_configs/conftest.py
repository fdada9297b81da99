"""Configs and their models, built once for all tests."""
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from mmengine.config import Config
from torch import nn

from mmpanseg.analysis import build_on_meta


@pytest.fixture(scope='session')
def build() -> Callable[[Path], tuple[Config, nn.Module]]:
    """Config of a path and its model without memory."""
    @cache
    def read_and_build(path: Path) -> tuple[Config, nn.Module]:
        config = Config.fromfile(path)
        return config, build_on_meta(config.model)

    return read_and_build
