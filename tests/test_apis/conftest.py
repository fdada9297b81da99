"""Trained-like tiny models of the four systems, and images of several sizes, for predictors."""
import copy
import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmpanseg.apis import Predictor
from mmpanseg.registry import MODELS

DATA = Path(__file__).resolve().parents[1] / 'data'
SYSTEMS = ('mask2former', 'mp_former', 'panoptic_segformer', 'kmax_deeplab')
META = dict(thing_classes=('cat', 'dog'), stuff_classes=('grass', 'sky'),
            classes=('cat', 'dog', 'grass', 'sky'),
            palette=[(200, 60, 60), (60, 60, 200), (60, 160, 60), (90, 150, 220)])
PIPELINE = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(96, 64), keep_ratio=True),
            dict(type='mmpanseg.LoadPanopticMap'), dict(type='mmpanseg.PackPanopticInputs')]
# (height, width); padded they have three sizes
SIZES = ((48, 72), (64, 40), (30, 90), (47, 72), (96, 64), (64, 41), (31, 90))


@pytest.fixture(scope='session')
def system_config():
    """Config of a tiny system: ``system_config('kmax_deeplab', panoptic_fusion_head=...)``."""
    model_config = runpy.run_path(str(DATA / 'golden.py'))['model_config']

    def make(name, **changes):
        model = model_config(name)
        for key, value in changes.items():
            model[key] = {**model[key], **value} if 'type' not in value else value
        return Config(dict(
            default_scope='mmdet', model=copy.deepcopy(model), test_dataloader=dict(dataset=dict(
                type='mmpanseg.PanopticDataset', metainfo=META, test_mode=True,
                ann_file='none.json', pipeline=copy.deepcopy(PIPELINE)))))
    return make


@pytest.fixture(scope='session')
def weights():
    """Weights of a tiny system by name."""
    def read(name):
        found = torch.load(DATA / f'checkpoints/{name}.pth', weights_only=True)
        found = found.get('state_dict', found)
        return {key: value.float() if value.is_floating_point() else value
                for key, value in found.items()}
    return read


@pytest.fixture(scope='session')
def system(system_config, weights):
    """Model and config of a tiny system: ``system('mask2former', test_cfg=dict(...))``."""
    def make(name, **changes):
        init_default_scope('mmdet')
        cfg = system_config(name, **changes)
        model = MODELS.build(cfg.model)
        model.load_state_dict(weights(name), strict=False)
        model.dataset_meta = META
        return model.eval(), cfg
    return make


@pytest.fixture(scope='session')
def predictors(system):
    """Predictor of each tiny system."""
    return {name: Predictor(*system(name)) for name in SYSTEMS}


@pytest.fixture(scope='session')
def pictures():
    """RGB images of the :data:`SIZES`."""
    rng = np.random.default_rng(0)
    return [cv2.resize(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8), size[::-1],
                       interpolation=cv2.INTER_CUBIC) for size in SIZES]


@pytest.fixture(scope='session')
def picture_folder(pictures, tmp_path_factory):
    """Folder of the pictures as PNG files, the last one with a capital ending in a subfolder."""
    folder = tmp_path_factory.mktemp('pictures')
    (folder / 'sub').mkdir()
    for number, picture in enumerate(pictures):
        name = 'sub/last.PNG' if number == len(pictures) - 1 else f'{number}.png'
        cv2.imwrite(str(folder / name), picture[..., ::-1])
    return folder
