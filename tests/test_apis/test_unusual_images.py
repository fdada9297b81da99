"""Prediction of thin images, beside unreadable files, and with the checkpoint of another config."""
import sys

import cv2
import numpy as np
import pytest
import torch
from mmdet.apis import init_detector
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

from mmpanseg.apis import ImageError, PanopticInferencer
from mmpanseg.checkpoints import CheckpointError
from mmpanseg.engine import UsageError
from mmpanseg.registry import MODELS

SCENES = 'configs/{0}/{0}_r18_1xb4-scratch-demo_scenes-panoptic.py'
FLIPPED = 'model.data_preprocessor.bgr_to_rgb is True in the checkpoint, False here'


@pytest.fixture(scope='module')
def folder(tiny_config, tmp_path_factory):
    """A config that resizes, its checkpoint as a training writes it, and images."""
    init_default_scope('mmdet')
    folder = tmp_path_factory.mktemp('unusual')
    cfg = Config.fromfile(tiny_config)
    cfg.test_dataloader.dataset.pipeline.insert(
        1, dict(type='Resize', scale=(96, 64), keep_ratio=True))
    cfg.dump(folder / 'config.py')
    meta = dict(cfg=cfg.pretty_text, dataset_meta=dict(
        cfg.metainfo, classes=('ball', 'sky', 'ground')))
    torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict(), meta=meta),
               folder / 'weights.pth')
    (folder / 'images').mkdir()
    for name in 'ac':
        cv2.imwrite(str(folder / f'images/{name}.png'), np.full((40, 50, 3), 99, np.uint8))
    (folder / 'images/b.png').write_text('no image')
    cv2.imwrite(str(folder / 'images/d.tif'), np.zeros((40, 50, 3), np.float32))
    cv2.imwrite(str(folder / 'images/e.png'), np.full((2, 5000, 3), 99, np.uint8))
    return folder


@pytest.fixture(scope='module')
def inferencer(folder):
    return PanopticInferencer(str(folder / 'config.py'), str(folder / 'weights.pth'), device='cpu',
                              show_progress=False)


@pytest.mark.parametrize('size', [(2, 5000), (5000, 2), (1, 1), (1, 5000)])
def test_thin(inferencer, size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    found = inferencer(image, return_vis=True)
    assert found['predictions'][0]['panoptic_seg'].shape == size
    assert found['visualization'][0].ndim == 3


@pytest.mark.slow
@pytest.mark.parametrize('name', ['mask2former', 'mp_former', 'kmax_deeplab', 'panoptic_segformer'])
@pytest.mark.parametrize('tile', [None, (64, 64)])
def test_thin_in_every_system(repo_root, tmp_path, name, tile):
    cfg = Config.fromfile(repo_root / SCENES.format(name))
    torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict(), meta={}), tmp_path / 'a.pth')
    model = PanopticInferencer(cfg, str(tmp_path / 'a.pth'), device='cpu', show_progress=False,
                               tile=tile)
    for size in ((2, 400), (400, 2), (1, 1)) if tile is None else ((2, 100), (1, 1)):
        found = model(np.full((*size, 3), 99, np.uint8))['predictions'][0]
        assert found['panoptic_seg'].shape == size


@pytest.mark.parametrize('batch_size', [1, 4])
def test_the_others_are_predicted(folder, inferencer, tmp_path, batch_size):
    found = inferencer(str(folder / 'images'), batch_size=batch_size, out_dir=str(tmp_path),
                       no_save_vis=True, skip_unreadable=True)
    assert [entry is not None for entry in found['predictions']] == [True, False, True, False, True]
    assert list(found['errors']) == [1, 3]
    assert 'b.png cannot be read as an image' in str(found['errors'][1])
    assert 'd.tif has samples of 32 bits' in str(found['errors'][3])
    assert {path.name for path in (tmp_path / 'preds').glob('*.png')} == {
        'a.png', 'c.png', 'e.png'}
    with pytest.raises(ImageError, match='b.png'):
        inferencer(str(folder / 'images'))


def test_demo_tool_reports_all_at_the_end(folder, tool, tmp_path, capsys):
    with pytest.raises(UsageError, match='^2 of 5 images could not be predicted: .*b.png, .*d.tif'):
        tool('image_demo', folder / 'images', folder / 'config.py', folder / 'weights.pth',
             '--out', tmp_path / 'out', '--device', 'cpu')
    out = capsys.readouterr()
    assert {path.name for path in (tmp_path / 'out').iterdir()} == {'a.png', 'c.png', 'e.png'}
    assert 'b.png cannot be read as an image' in out.err
    assert 'd.tif has samples of 32 bits' in out.err


def test_the_reason_is_true(inferencer, tmp_path):
    path = tmp_path / 'folder.png'
    path.mkdir()
    with pytest.raises(ImageError, match='folder.png cannot be read: .*directory'):
        list(inferencer.preprocess([str(path)]))


@pytest.fixture
def flipped(folder):
    cfg = Config.fromfile(folder / 'config.py')
    cfg.model.data_preprocessor.bgr_to_rgb = False
    return cfg


def test_flipped_channels(folder, flipped):
    weights = str(folder / 'weights.pth')
    with pytest.raises(CheckpointError, match=FLIPPED):
        PanopticInferencer(flipped, weights, device='cpu', strict_meta=True)
    logger = MMLogger.get_instance('flipped', log_file=str(folder / 'log.txt'))
    PanopticInferencer(Config(dict(flipped, strict_meta=False)), weights, device='cpu')
    text = (folder / 'log.txt').read_text()
    logger.handlers.clear()
    assert text.count('was trained with other settings') == 1 and FLIPPED in text
    assert f'{weights} was trained' in text


def test_other_names(folder, flipped):
    meta = dict(thing_classes=('ball', ), stuff_classes=('sky', 'floor'))
    for loader in ('train', 'val', 'test'):
        flipped[f'{loader}_dataloader'].dataset.metainfo = meta
    weights = str(folder / 'weights.pth')
    init_detector(flipped, weights, device='cpu')
    flipped.strict_meta = True
    with pytest.raises(CheckpointError, match="'ground' in the checkpoint, 'floor' here"):
        init_detector(flipped, weights, device='cpu')


@pytest.mark.parametrize('name, more', [
    ('analysis_tools/query_consistency', []), ('image_demo', ['images/a.png'])])
def test_strict_tools(folder, tool, name, more, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, 'path', sys.path[:])
    with pytest.raises(UsageError, match=FLIPPED) as info:
        tool(name, *more, 'config.py', 'weights.pth', '--strict-meta', '--cfg-options',
             'model.data_preprocessor.bgr_to_rgb=False')
    assert str(info.value).startswith('weights.pth')
