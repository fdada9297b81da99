"""Fixtures shared by all tests."""
import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope

import mmpanseg  # noqa: F401  before any mmdet.models: it makes them importable

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope='session')
def shared() -> Path:
    """Folder with golden fixtures and sample data; tests skip where it is absent."""
    path = Path(os.environ.get('MMPANSEG_SHARED', ROOT / '../shared')).resolve()
    if not path.is_dir():
        pytest.skip(f'no shared test data at {path} (set MMPANSEG_SHARED)')
    return path


@pytest.fixture(scope='session')
def golden(shared: Path) -> Path:
    """Folder with the published implementations' inputs, weights and outputs."""
    return shared / 'golden'


@pytest.fixture(scope='session')
def repo_root() -> Path:
    """Root folder of the checkout."""
    return ROOT


@pytest.fixture(autouse=True)
def mmdet_scope() -> None:
    """Names without a prefix are mmdet's, as in every config of this library."""
    init_default_scope('mmdet')


@pytest.fixture
def tool(repo_root, monkeypatch):
    """Runs the main() of a script in tools/: ``tool('model_converters/convert', 'a.pth', ...)``."""
    def run(name, *arguments):
        path = repo_root / f'tools/{name}.py'
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setattr(sys, 'argv', [path.name, *map(str, arguments)])
        module.main()
    return run


def _shapes(manifest, kind):
    """Shape by name."""
    return {name: shape[0] if shape and isinstance(shape[0], list) else shape
            for name, shape in manifest.get(kind, {}).items()}


@pytest.fixture
def published(golden):
    """A published checkpoint as names and shapes: reads e.g. ``mask2former/manifest_R50.json``."""
    def read(path, overrides=None):
        manifest = json.loads((golden / path).read_text())
        shapes = _shapes(manifest, 'parameters') | _shapes(manifest, 'buffers')
        for norm, channels in manifest.get('batch_norm_modules', {}).items():
            shapes |= {f'{norm}.running_mean': [channels], f'{norm}.running_var': [channels],
                       f'{norm}.num_batches_tracked': []}
        shapes |= overrides or {}
        return {name: torch.empty(shape, device='meta') for name, shape in shapes.items()}
    return read
