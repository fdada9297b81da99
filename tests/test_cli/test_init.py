"""``mmpanseg init``: options become a config; a mistake is one line."""
import json

import cv2
import numpy as np
import pytest
from mmengine.config import Config


@pytest.fixture
def maps(tmp_path):
    """Semantic data in a layout of their own."""
    for name in ('a', 'a_labels'):
        (tmp_path / name).mkdir()
    cv2.imwrite(str(tmp_path / 'a/1.png'), np.zeros((200, 300, 3), np.uint8))
    cv2.imwrite(str(tmp_path / 'a_labels/1.png'), np.zeros((200, 300), np.uint8))
    (tmp_path / 'classes.json').write_text(json.dumps(['road', 'sky']))
    return tmp_path


def test_options(mmpanseg_command, maps):
    paths = ('--train-images', 'a', '--train-maps', 'a_labels', '--val-images', 'a', '--val-maps',
             'a_labels')
    done = mmpanseg_command('init', maps, *paths, '--system', 'mp', '--backbone', 'swin-l',
                            '--batch-size', '3', '--epochs', '30', '--short-side', '160', '--out',
                            maps / 'my.py')
    assert done.out.split() == [str(maps / 'my.py')]
    assert f'train with: mmpanseg train {maps / "my.py"}' in ' '.join(done.err.split())
    cfg = Config.fromfile(maps / 'my.py')
    assert cfg.model.panoptic_head.type == 'mmpanseg.MPFormerHead'
    assert cfg.model.backbone.depths == [2, 2, 18, 2]
    assert (cfg.train_dataloader.batch_size, cfg.train_cfg.max_iters) == (3, 10)
    assert cfg.val_dataloader.dataset.pipeline[1].scale == (240, 160)
    assert cfg.val_dataloader.dataset.metainfo.classes == ('road', 'sky')
    done = mmpanseg_command('init', maps, *paths, '--out', maps / 'my.py')
    assert done.status == 1 and done.err.count('\n') == 1
    assert done.err.startswith('mmpanseg init: error: ') and '--force' in done.err


def test_a_mistake_in_the_command_line(mmpanseg_command, maps):
    done = mmpanseg_command('init', maps, '--steps', '0')
    assert done.status == 2 and '--steps' in done.err
