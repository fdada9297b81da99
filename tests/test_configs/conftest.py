"""Configs and their models, built once for all tests."""
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path

import pytest
from mmengine.config import Config
from torch import nn

from mmpanseg.analysis import build_on_meta
from mmpanseg.models.segmentors import mask_transformer


@pytest.fixture(scope='session')
def each_backbone_once() -> Callable[[], AbstractContextManager[set[str]]]:
    """In this context, the run of a backbone that checks its maps is left out after the first."""
    seen: set[str] = set()

    @contextmanager
    def context() -> Iterator[set[str]]:
        check = mask_transformer.check_feature_maps

        def check_once(backbone, backbone_cfg, head_cfg):
            key = repr((backbone_cfg, head_cfg.get('in_channels')))
            if key not in seen:
                check(backbone, backbone_cfg, head_cfg)
                seen.add(key)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mask_transformer, 'check_feature_maps', check_once)
            yield seen

    return context


@pytest.fixture(scope='session')
def build(each_backbone_once) -> Callable[[Path], tuple[Config, nn.Module]]:
    """Config of a path and its model without memory."""
    @cache
    def read_and_build(path: Path) -> tuple[Config, nn.Module]:
        config = Config.fromfile(path)
        with each_backbone_once():
            return config, build_on_meta(config.model)

    return read_and_build
