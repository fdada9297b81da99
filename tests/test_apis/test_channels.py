"""Images of one and five channels, from training to predictions."""
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from mmengine.config import Config
from PIL import Image

import mmpanseg
from mmpanseg.apis import PanopticInferencer
from mmpanseg.cli.app import main
from mmpanseg.engine.training import build_training
from mmpanseg.registry import MODELS
from mmpanseg.structures.image_file import ImageError

from ..conftest import CONFIG

LOADERS = {1: dict(num_channels=1), 5: dict(num_channels=5, display=(3, 1, 4))}


def write_data(root, channels):
    """Three images of 12 or 16 bits with balls of another value in each channel."""
    (root / 'images').mkdir()
    (root / 'panoptic').mkdir()
    rng = np.random.default_rng(0)
    content = dict(images=[], annotations=[], categories=[
        dict(id=1, name='ball', isthing=1), dict(id=2, name='sky', isthing=0),
        dict(id=3, name='ground', isthing=0)])
    for k in range(3):
        ids = np.full((48, 64), 2, np.uint8)
        ids[30:] = 3
        ids[10:26, 8 * k + 4:8 * k + 24] = 1
        values = 700 * (1 + (ids[..., None] * np.arange(1, channels + 1)) % 5)
        pixels = (values + rng.integers(0, 99, values.shape)).astype(np.uint16)
        name = f'{k}.png' if channels == 1 else f'{k}.npy'
        if channels == 1:
            cv2.imwrite(str(root / 'images' / name), pixels)
        else:
            np.save(root / 'images' / name, pixels)
        Image.fromarray(np.stack([ids, 0 * ids, 0 * ids], -1)).save(root / f'panoptic/{k}.png')
        content['images'].append(dict(id=k, file_name=name, height=48, width=64))
        content['annotations'].append(dict(
            image_id=k, file_name=f'{k}.png',
            segments_info=[dict(id=i, category_id=i, iscrowd=0) for i in (1, 2, 3)]))
    (root / 'panoptic.json').write_text(json.dumps(content))


def config(root, channels, tmp_path):
    path = tmp_path / 'config.py'
    path.write_text(CONFIG.format(root=Path(__file__).resolve().parents[2], data=root))
    cfg = Config.fromfile(path)
    load = dict(type='mmpanseg.LoadChannels', **LOADERS[channels])
    ground_truth, pack = cfg.pipeline[1:]
    train = [load, ground_truth, dict(type='Rotate', prob=0.5),
             dict(type='mmpanseg.ChannelJitter'),
             dict(type='mmpanseg.LargeScaleJitter', size=(64, 64), scale_range=(0.8, 1.2)),
             dict(type='Pad', size=(64, 64), pad_val=700), pack]
    test = [load, dict(type='Resize', scale=(64, 64), keep_ratio=True), ground_truth, pack]
    cfg.train_dataloader.dataset.pipeline = train
    cfg.val_dataloader.dataset.pipeline = cfg.test_dataloader.dataset.pipeline = test
    cfg.model.backbone.in_channels = channels
    cfg.model.new_channels = 'average'
    cfg.model.data_preprocessor = dict(
        type='mmpanseg.ChannelDataPreprocessor', mean=[2100.0] * channels, std=[900.0] * channels,
        pad_size_divisor=32)
    cfg.work_dir = str(tmp_path / 'work')
    cfg.train_cfg.update(max_iters=2, val_interval=2)
    return cfg


@pytest.mark.slow
@pytest.mark.parametrize('channels', [1, 5])
def test_from_training_to_predictions(tmp_path, channels, monkeypatch):
    root = tmp_path / 'data'
    root.mkdir()
    write_data(root, channels)
    cfg = config(root, channels, tmp_path)
    # weights of a model of three colors
    colors = Config(dict(cfg.model, new_channels=None, data_preprocessor=None))
    colors.backbone = dict(cfg.model.backbone, in_channels=3)
    torch.manual_seed(0)
    pretrained = MODELS.build(colors._cfg_dict)
    torch.save(dict(state_dict=pretrained.state_dict()), tmp_path / 'colors.pth')
    cfg.load_from = str(tmp_path / 'colors.pth')

    runner = build_training(cfg)
    started = {}
    step = runner.model.train_step

    def first_step(*args, **kwargs):
        started.setdefault('weight', runner.model.backbone.conv1.weight.detach().cpu().clone())
        return step(*args, **kwargs)

    monkeypatch.setattr(runner.model, 'train_step', first_step)
    runner.train()
    first = started['weight']
    torch.testing.assert_close(first, pretrained.backbone.conv1.weight.mean(1, keepdim=True).expand(
        -1, channels, -1, -1) * (3 / channels))
    assert runner.message_hub.get_scalar('val/panoptic/PQ').current() >= 0
    assert not torch.equal(runner.model.backbone.conv1.weight.cpu(), first)
    checkpoint = tmp_path / 'work/iter_2.pth'
    text = next((tmp_path / 'work').rglob('*.log')).read_text()
    assert f'weights for 3 channels are adapted to {channels} by' in text

    predictor = mmpanseg.load(str(checkpoint), device='cpu')
    files = sorted((root / 'images').iterdir())
    results = predictor(str(root / 'images'))
    assert [r.size for r in results] == [(48, 64)] * 3
    pixels = (cv2.imread(str(files[1]), -1)[..., None] if channels == 1 else np.load(files[1]))
    # a file, its array and its tensor are the same image
    for source in (pixels, torch.from_numpy(pixels.transpose(2, 0, 1).copy())):
        again = predictor(source)
        np.testing.assert_array_equal(again.panoptic_map, results[1].panoptic_map)
        np.testing.assert_array_equal(again.image, results[1].image)
    # its picture shows the chosen channels in their range
    shown = pixels[..., [3, 1, 4]] if channels == 5 else pixels[..., [0, 0, 0]]
    for k in range(3):
        plane = shown[..., k].astype(float)
        low, high = np.percentile(plane, (1, 99))
        expected = ((plane - low) / (high - low) * 255).clip(0, 255)
        assert np.abs(results[1].image[..., k] - expected).max() <= 1
    assert results[1].plot().shape[2] == 3

    inferencer = PanopticInferencer(predictor.cfg, str(checkpoint), device='cpu')
    found = inferencer([str(files[1]), pixels], return_vis=True, no_save_vis=True)
    for prediction, picture in zip(found['predictions'], found['visualization']):
        assert (prediction['panoptic_seg'] > 0).any()
        assert picture.dtype == np.uint8 and picture.shape[2] == 3
    np.testing.assert_array_equal(*(p['panoptic_seg'] for p in found['predictions']))

    out = tmp_path / 'out'
    done = CliRunner().invoke(main, ['predict', str(root / 'images'), '--model', str(checkpoint),
                                     '--device', 'cpu', '--out', str(out)])
    assert done.exit_code == 0, done.output
    assert len([p for p in out.rglob('*') if p.suffix in ('.jpg', '.png')]) >= 3

    # another number of channels, and values that are no numbers
    with pytest.raises(ImageError, match=rf'has 3 channels, LoadChannels\(num_channels={channels}'):
        predictor(pixels[..., [0, 0, 0]])
    broken = np.full((48, 64, channels), np.nan, np.float32)
    np.save(tmp_path / 'broken.npy', broken)
    with pytest.raises(ImageError, match='broken.npy has .* values that are NaN or infinite'):
        predictor(str(tmp_path / 'broken.npy'))
