"""A model file and photos; see color_scenes.py."""
import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmpanseg.cli.app import main
from mmpanseg.models.segmentors import MaskTransformer
from mmpanseg.registry import MODELS
from mmpanseg.structures.panoptic_png import write_panoptic_png

sys.path.insert(0, str(Path(__file__).parent))
scenes = importlib.import_module('color_scenes')


@pytest.fixture(scope='session')
def weights(tiny_config, tmp_path_factory):
    """Checkpoint of the tiny config."""
    init_default_scope('mmdet')
    cfg = Config.fromfile(tiny_config)
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp('weights') / 'tiny.pth'
    torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict(),
                    meta=dict(dataset_meta=scenes.META)), path)
    return path


@pytest.fixture
def run(tiny_config, weights, tmp_path, monkeypatch):
    """Runs ``mmpanseg predict`` in ``tmp_path``; returns status, output and error lines."""
    monkeypatch.setattr(MaskTransformer, 'predict_queries', scenes.sees_colors)
    monkeypatch.setenv('MMPANSEG_CACHE', str(tmp_path / 'cache'))
    monkeypatch.chdir(tmp_path)

    def call(*arguments, model=tiny_config, weights=weights, stdin=None):
        models = ['--model', model, *(['--weights', weights] if weights else [])]
        result = CliRunner().invoke(
            main, [str(part) for part in ('predict', *arguments, *models, '--device', 'cpu')],
            input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return SimpleNamespace(status=result.exit_code, out=result.stdout.splitlines(),
                               err=result.stderr.splitlines())
    return call


@pytest.fixture
def photos(tmp_path):
    """Folder with four images in sub-folders, two of equal names; map of each by its path."""
    rng = np.random.default_rng(0)
    made = {}
    for name in ('a/1.png', 'b/1.PNG', 'b/2.jpg', 'b/c/3.png'):
        made[name] = scenes.ball_scene(rng, (64, 64), 1 + (name == 'a/1.png'))
        scenes.write_image(tmp_path / 'photos' / name, made[name])
    return made


@pytest.fixture
def annotations(photos, tmp_path):
    """COCO panoptic and instance JSONs of the photos; what the photos show is a little shifted."""
    images, segments, objects = [], [], []
    for number, (name, labels) in zip((101, 55, 207, 8), photos.items()):
        truth = np.roll(labels, 3, 1)
        images.append(dict(id=number, file_name=name, height=64, width=64))
        png = f'{number}.png'
        write_panoptic_png(tmp_path / 'truth' / png, truth.astype(int) + 7)
        infos = []
        for query in np.unique(truth).tolist():
            label = scenes.QUERIES[query][1]
            mask = truth == query
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            box = [int(columns[0]), int(rows[0]), int(columns[-1] - columns[0]) + 1,
                   int(rows[-1] - rows[0]) + 1]
            infos.append(dict(id=query + 7, category_id=scenes.CATEGORY_OF[label], iscrowd=0,
                              area=int(mask.sum()), bbox=box))
            if label == scenes.BALL:
                contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL,
                                               cv2.CHAIN_APPROX_NONE)
                objects.append(dict(
                    id=len(objects) + 1, image_id=number, iscrowd=0,
                    category_id=scenes.CATEGORY_OF[scenes.BALL], area=int(mask.sum()), bbox=box,
                    segmentation=[part.ravel().tolist() for part in contours]))
        segments.append(dict(image_id=number, file_name=png, segments_info=infos))
    for name, annotations in (('truth.json', segments), ('objects.json', objects)):
        (tmp_path / name).write_text(json.dumps(
            dict(images=images, annotations=annotations, categories=scenes.CATEGORIES)))
    return tmp_path / 'truth.json'
