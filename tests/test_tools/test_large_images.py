"""Command lines for augmented and tiled testing, with a very small untrained model."""
import json
import os
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from .. import forked
from ..small_models import spread_queries

ROOT = Path(__file__).resolve().parents[2]

CONFIG = """
_base_ = '{root}/configs/_base_/default_runtime.py'
model = dict(
    type='mmpanseg.MaskTransformer', num_things_classes=1, num_stuff_classes=2,
    data_preprocessor=dict(type='DetDataPreprocessor', mean=[123.675, 116.28, 103.53],
                           std=[58.395, 57.12, 57.375], bgr_to_rgb=True, pad_size_divisor=32),
    backbone=dict(type='ResNet', depth=18, base_channels=8),
    panoptic_head=dict(
        type='mmpanseg.Mask2FormerHead', in_channels=[8, 16, 32, 64], num_queries=8, channels=32,
        out_channels=32,
        pixel_decoder=dict(type='mmpanseg.MSDeformAttnPixelDecoder', num_layers=1,
                           feedforward_channels=64),
        transformer_decoder=dict(type='mmpanseg.MaskedAttentionDecoder', num_layers=1,
                                 feedforward_channels=64)),
    panoptic_fusion_head=dict(
        type='mmpanseg.PixelwiseFusionHead', object_mask_thr=0.0, iou_thr=0.0),
    test_cfg=dict(semantic_on=True))
test_dataloader = dict(batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler',
                                                                 shuffle=False), dataset=dict(
    type='mmpanseg.PanopticDataset', data_root='{data}', ann_file='panoptic.json', test_mode=True,
    data_prefix=dict(img='images', seg='panoptic'),
    metainfo=dict(thing_classes=('ball',), stuff_classes=('sky', 'ground')),
    pipeline=[dict(type='LoadImageFromFile'), dict(type='Resize', scale=(64, 64), keep_ratio=True),
              dict(type='mmpanseg.LoadPanopticMap'), dict(type='mmpanseg.PackPanopticInputs')]))
test_evaluator = [dict(type='mmpanseg.PanopticMetric'),
                  dict(type='mmpanseg.SemanticMetric', source='panoptic')]
test_cfg = dict(type='TestLoop')
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """Config, weights and two images of 80 x 120 pixels."""
    data = tmp_path_factory.mktemp('data')
    (data / 'images').mkdir()
    (data / 'panoptic').mkdir()
    images, annotations = [], []
    rng = np.random.default_rng(0)
    for k in range(2):
        ids = np.full((80, 120), 2, dtype=np.uint8)
        ids[40:] = 3
        ids = cv2.circle(ids, (30 + 50 * k, 40), 20, 1, -1)
        colors = np.array([(0, 0, 0), (60, 60, 200), (220, 150, 90), (70, 160, 90)])
        pixels = colors[ids] + rng.integers(-20, 20, (80, 120, 3))
        cv2.imwrite(str(data / f'images/{k}.png'), pixels.clip(0, 255).astype(np.uint8))
        cv2.imwrite(str(data / f'panoptic/{k}.png'), np.dstack([0 * ids, 0 * ids, ids]))
        images.append(dict(id=k, file_name=f'{k}.png', height=80, width=120))
        annotations.append(dict(image_id=k, file_name=f'{k}.png', segments_info=[
            dict(id=i, category_id=i, iscrowd=0, area=int((ids == i).sum())) for i in (1, 2, 3)]))
    categories = [dict(id=1, name='ball', isthing=1), dict(id=2, name='sky', isthing=0),
                  dict(id=3, name='ground', isthing=0)]
    (data / 'panoptic.json').write_text(json.dumps(
        dict(images=images, annotations=annotations, categories=categories)))
    path = data / 'tiny.py'
    path.write_text(CONFIG.format(root=ROOT.as_posix(), data=data.as_posix()))
    torch.manual_seed(0)
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    model.init_weights()
    spread_queries(model)
    torch.save(dict(state_dict=model.state_dict()), data / 'tiny.pth')
    return data


def tool(name, *args, cwd, expect=0, spawn=True) -> str:
    env = dict(os.environ, OMP_NUM_THREADS='1',
               PYTHONPATH=os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')]))
    script = ROOT / 'tools' / name
    command = [script] if spawn else forked.with_forked_workers(script)
    done = forked.run([*command, *args], cwd=cwd, env=env, merged=True)
    assert (done.returncode == 0) == (expect == 0), done.stdout[-4000:]
    return done.stdout


@pytest.mark.slow
def test_augmented_and_tiled_test(folder, tmp_path):
    def scores(*options):
        out = tool('test.py', folder / 'tiny.py', folder / 'tiny.pth', '--work-dir', 'run',
                   *options, cwd=tmp_path)
        return {name: re.findall(rf'{name}: +(\S+)', out)[-1] for name in ('/PQ', '/mIoU')}

    plain = scores()
    # one view without a flip is the plain test
    assert scores('--tta', '--cfg-options', 'tta_flip=False') == plain
    assert scores('--tta') != plain
    # and so is one tile that holds the whole image
    tiles = ('--cfg-options', 'model.test_cfg.mode=tile', 'model.test_cfg.overlap=8')
    padded = scores(*tiles, 'model.test_cfg.tile=(64,64)')
    assert padded.keys() == plain.keys()
    assert scores(*tiles, 'model.test_cfg.tile=(64,32)') != plain


@pytest.mark.slow
def test_tiled_vs_whole(folder, tmp_path):
    name = 'analysis_tools/tiled_vs_whole.py'
    files = (folder / 'tiny.py', folder / 'tiny.pth', folder / 'images/0.png', '--device', 'cpu')
    out = tool(name, *files, '--tile', 80, 120, cwd=tmp_path)
    assert '1 tiles of 120x80' in out
    assert out.count(': 100.00 %') == 1 and out.count(':   100.00 %') == 1, out
    assert 'remain whole: 0 of 0' in out
    out = tool(name, *files, '--tile', 48, 64, '--overlap', 16, cwd=tmp_path, spawn=False)
    assert '6 tiles of 64x48' in out and re.search(r'remain whole: \d+ of \d+', out)
    assert all(float(peak) > 50 for peak in re.findall(r'(?:whole|tiled) +\d+ +(\d+)', out))
    out = tool(name, *files, '--tile', 16, 16, '--overlap', 16, cwd=tmp_path, expect=1,
               spawn=False)
    assert 'overlap=16 must be between 1 and 15' in out.strip().splitlines()[-1]
