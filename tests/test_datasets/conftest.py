"""A tiny dataset in COCO panoptic format, to be damaged by the tests."""
import importlib.util
import json
from pathlib import Path
from types import ModuleType, SimpleNamespace

import cv2
import numpy as np
import pytest
from mmengine.registry import DefaultScope, init_default_scope
from PIL import Image

PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='mmpanseg.LoadPanopticMap'),
    dict(type='mmpanseg.PackPanopticInputs')]


@pytest.fixture(autouse=True)
def mmdet_scope():
    """Configs name mmdet's modules without a scope; the scope is put back afterwards."""
    init_default_scope('mmdet')
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


@pytest.fixture(scope='session')
def downloads() -> ModuleType:
    """Functions that write small files in the layout of official downloads."""
    spec = importlib.util.spec_from_file_location(
        'downloads', Path(__file__).with_name('downloads.py'))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def save_ids(path, ids):
    rgb = np.stack([ids & 255, ids >> 8 & 255, ids >> 16 & 255], -1).astype(np.uint8)
    Image.fromarray(rgb).save(path)


@pytest.fixture
def tiny(tmp_path):
    """Two 6x8 images: ids 70000 (ball), 9 (sky), 300 (ball, crowd) and void; all void."""
    (tmp_path / 'img').mkdir()
    (tmp_path / 'seg').mkdir()
    ids = np.zeros((6, 8), np.int64)
    ids[:3] = 9
    ids[1:5, 1:4] = 70000
    ids[1:5, 4:6] = 300
    pixels = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    for name, segment_ids in (('a', ids), ('b', np.zeros_like(ids))):
        cv2.imwrite(str(tmp_path / f'img/{name}.png'), pixels)
        save_ids(tmp_path / f'seg/{name}.png', segment_ids)
    segments = [
        dict(id=70000, category_id=5, iscrowd=0, area=12, bbox=[1, 1, 3, 4]),
        dict(id=9, category_id=2, iscrowd=0, area=14, bbox=[0, 0, 8, 3]),
        dict(id=300, category_id=5, iscrowd=1, area=8, bbox=[4, 1, 2, 4])]
    content = dict(
        images=[dict(id=1, file_name='a.png', height=6, width=8),
                dict(id=2, file_name='b.png', height=6, width=8)],
        annotations=[dict(image_id=1, file_name='a.png', segments_info=segments),
                     dict(image_id=2, file_name='b.png', segments_info=[])],
        categories=[dict(id=2, name='sky', isthing=0, color=[1, 2, 3]),
                    dict(id=5, name='ball', isthing=1, color=[4, 5, 6])])

    def build(kind=None, **kwargs):
        from mmpanseg.datasets import PanopticDataset
        (tmp_path / 'tiny.json').write_text(json.dumps(content))
        kwargs = dict(pipeline=PIPELINE) | kwargs
        return (kind or PanopticDataset)(
            ann_file='tiny.json', data_root=str(tmp_path),
            data_prefix=dict(img='img', seg='seg'), **kwargs)

    return SimpleNamespace(root=tmp_path, ids=ids, pixels=pixels, content=content, build=build)
