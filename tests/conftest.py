"""Fixtures shared by all tests."""
import gc
import importlib.util
import json
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope

import mmpanseg  # noqa: F401  before any mmdet.models: it makes them importable

from .chromium import BROWSER, Chromium
from .repeated_work import do_once

do_once()

ROOT = Path(__file__).resolve().parents[1]

CONFIG = """
_base_ = '{root}/configs/_base_/default_runtime.py'
data_root = '{data}'
metainfo = dict(thing_classes=('ball',), stuff_classes=('sky', 'ground'),
                palette=[(200, 60, 60), (90, 150, 220), (90, 160, 70)])
model = dict(
    type='mmpanseg.MaskTransformer', num_things_classes=1, num_stuff_classes=2,
    data_preprocessor=dict(type='DetDataPreprocessor', mean=[123.675, 116.28, 103.53],
                           std=[58.395, 57.12, 57.375], bgr_to_rgb=True, pad_size_divisor=32),
    backbone=dict(type='ResNet', depth=18, base_channels=8, norm_eval=False),
    panoptic_head=dict(
        type='mmpanseg.Mask2FormerHead', in_channels=[8, 16, 32, 64], num_queries=8, channels=32,
        out_channels=32,
        pixel_decoder=dict(type='mmpanseg.MSDeformAttnPixelDecoder', num_layers=1,
                           feedforward_channels=64),
        transformer_decoder=dict(type='mmpanseg.MaskedAttentionDecoder', num_layers=2,
                                 feedforward_channels=64),
        criterion=dict(type='mmpanseg.MaskCriterion', num_points=128)),
    panoptic_fusion_head=dict(type='mmpanseg.PixelwiseFusionHead', object_mask_thr=0.0))
pipeline = [dict(type='LoadImageFromFile'), dict(type='mmpanseg.LoadPanopticMap'),
            dict(type='mmpanseg.PackPanopticInputs')]
dataset = dict(type='mmpanseg.PanopticDataset', data_root=data_root, ann_file='panoptic.json',
               data_prefix=dict(img='images', seg='panoptic'), metainfo=metainfo,
               pipeline=pipeline)
train_dataloader = dict(batch_size=2, num_workers=0, dataset=dataset,
                        sampler=dict(type='InfiniteSampler', shuffle=True))
val_dataloader = dict(batch_size=1, num_workers=0, dataset=dict(test_mode=True, **dataset),
                      sampler=dict(type='DefaultSampler', shuffle=False))
test_dataloader = val_dataloader
val_evaluator = dict(type='mmpanseg.PanopticMetric')
test_evaluator = val_evaluator
train_cfg = dict(type='IterBasedTrainLoop', max_iters=4, val_interval=100)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3),
                     clip_grad=dict(max_norm=0.1))
param_scheduler = dict(type='PolyLR', power=0.9, by_epoch=False, end=8)
default_hooks = dict(checkpoint=dict(interval=2), logger=dict(interval=1))
"""


NO_SHARED_DATA = 'no shared test data at'


@pytest.fixture(scope='session')
def shared() -> Path:
    """Folder with golden fixtures and sample data; tests skip where it is absent."""
    path = Path(os.environ.get('MMPANSEG_SHARED', ROOT / '../shared')).resolve()
    if not path.is_dir():
        pytest.skip(f'{NO_SHARED_DATA} {path} (set MMPANSEG_SHARED)')
    return path


def pytest_collection_finish() -> None:
    """Keep imported modules out of garbage collections, of which each data set makes one."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter) -> None:
    """Count the tests that were skipped for want of published outputs: a green run shows them."""
    skipped = sum(isinstance(report.longrepr, tuple) and NO_SHARED_DATA in report.longrepr[2]
                  for report in terminalreporter.stats.get('skipped', []))
    if skipped:
        terminalreporter.write_line(
            f'{skipped} tests compare with published outputs and were skipped: the '
            'folder that MMPANSEG_SHARED names is absent', yellow=True)


@pytest.fixture(scope='session')
def golden(shared: Path) -> Path:
    """Folder with the published implementations' inputs, weights and outputs."""
    return shared / 'golden'


@pytest.fixture(scope='session')
def repo_root() -> Path:
    """Root folder of the checkout."""
    return ROOT


@pytest.fixture(autouse=True)
def environment():
    """Options such as --trust-checkpoint set variables of the process: no test leaves one."""
    former = dict(os.environ)
    yield
    for name in {**former, **os.environ}:
        if name == 'PYTEST_CURRENT_TEST' or os.environ.get(name) == former.get(name):
            continue
        if name in former:
            os.environ[name] = former[name]
        else:
            del os.environ[name]


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


@pytest.fixture(scope='session')
def tiny_config(tmp_path_factory) -> Path:
    """Config of a very small Mask2Former, and six 64x64 images: a ball before sky and ground."""
    data = tmp_path_factory.mktemp('data')
    (data / 'images').mkdir()
    (data / 'panoptic').mkdir()
    images, annotations = [], []
    rng = np.random.default_rng(0)
    for k in range(6):
        ids = np.full((64, 64), 2)
        ids[rng.integers(25, 45):] = 3
        ids = cv2.circle(ids.astype(np.uint8), tuple(int(v) for v in rng.integers(15, 50, 2)),
                         int(rng.integers(6, 12)), 1, -1)
        colors = np.array([(0, 0, 0), (60, 60, 200), (220, 150, 90), (70, 160, 90)])
        noise = rng.integers(-20, 20, (64, 64, 3))
        name = f'{k:03d}'
        pixels = (colors[ids] + noise).clip(0, 255).astype(np.uint8)
        cv2.imwrite(str(data / f'images/{name}.png'), pixels)
        # BGR: the id lies in the red channel.
        cv2.imwrite(str(data / f'panoptic/{name}.png'), np.dstack([0 * ids, 0 * ids, ids]))
        images.append(dict(id=k, file_name=f'{name}.png', height=64, width=64))
        annotations.append(dict(image_id=k, file_name=f'{name}.png', segments_info=[
            dict(id=i, category_id=i, iscrowd=0, area=int((ids == i).sum()), bbox=[0, 0, 64, 64])
            for i in (1, 2, 3)]))
    categories = [dict(id=1, name='ball', isthing=1), dict(id=2, name='sky', isthing=0),
                  dict(id=3, name='ground', isthing=0)]
    (data / 'panoptic.json').write_text(json.dumps(
        dict(images=images, annotations=annotations, categories=categories)))
    path = data / 'tiny.py'
    path.write_text(CONFIG.format(root=ROOT.as_posix(), data=data.as_posix()))
    return path


@pytest.fixture(scope='session')
def chromium(tmp_path_factory):
    """A headless browser, see tests/chromium.py; skips where there is none."""
    if BROWSER is None:
        pytest.skip('no chromium on this machine')
    browser = Chromium(tmp_path_factory.mktemp('chromium'))
    yield browser
    browser.close()
