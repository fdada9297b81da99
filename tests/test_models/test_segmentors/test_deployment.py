"""Weights and class names of models built to predict, by all functions that build one."""
import argparse
import copy
import json
import re
import socket
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.apis import DetInferencer, init_detector
from mmengine.config import Config

from mmpanseg.analysis.trained_model import load_trained
from mmpanseg.apis import PanopticInferencer
from mmpanseg.checkpoints import CheckpointError
from mmpanseg.datasets.metainfo import check_class_names, config_metainfo
from mmpanseg.engine import UsageError
from mmpanseg.registry import MODELS

NAMES = ('ball', 'sky', 'ground')
URL = 'https://127.0.0.1:9/resnet.pth'


def make_config(metainfo=dict(thing_classes=NAMES[:1], stuff_classes=NAMES[1:]), **model):
    """A tiny Mask2Former of one thing and two stuff classes."""
    cfg = Config(dict(
        default_scope='mmdet',
        visualizer=dict(type='mmpanseg.PanopticVisualizer', name='visualizer'),
        model=dict(
            type='mmpanseg.MaskTransformer', num_things_classes=1, num_stuff_classes=2,
            data_preprocessor=dict(type='DetDataPreprocessor', pad_size_divisor=32),
            backbone=dict(type='ResNet', depth=18, base_channels=4,
                          init_cfg=dict(type='Pretrained', checkpoint=URL)),
            panoptic_head=dict(
                type='mmpanseg.Mask2FormerHead', in_channels=[4, 8, 16, 32], channels=32,
                out_channels=32, num_queries=8,
                pixel_decoder=dict(type='mmpanseg.MSDeformAttnPixelDecoder', num_layers=1),
                transformer_decoder=dict(type='mmpanseg.MaskedAttentionDecoder', num_layers=1)),
            panoptic_fusion_head=dict(type='mmpanseg.PixelwiseFusionHead', object_mask_thr=0.0)),
        test_dataloader=dict(
            batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=dict(
                type='mmpanseg.PanopticDataset', metainfo=metainfo, test_mode=True,
                lazy_init=True, ann_file='none.json', pipeline=[
                    dict(type='LoadImageFromFile'), dict(type='mmpanseg.PackPanopticInputs')]))))
    cfg.merge_from_dict({f'model.{key.replace("__", ".")}': value for key, value in model.items()})
    return cfg


@pytest.fixture(scope='module')
def state():
    from mmengine.registry import init_default_scope
    init_default_scope('mmdet')
    torch.manual_seed(0)
    return MODELS.build(make_config().model).state_dict()


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """Downloads are an error in these tests."""
    def refuse(*args, **kwargs):
        raise OSError('Network is unreachable')
    monkeypatch.setattr(socket, 'getaddrinfo', refuse)


def with_init_detector(cfg, path):
    return init_detector(copy.deepcopy(cfg), path, device='cpu')


def with_mmdets_inferencer(cfg, path):
    return DetInferencer(cfg, path, device='cpu', show_progress=False).model


def with_our_inferencer(cfg, path):
    return PanopticInferencer(cfg, path, device='cpu', show_progress=False).model


def with_tools(cfg, path):
    cfg, file = copy.deepcopy(cfg), f'{path}.py'
    dataset = cfg.test_dataloader.dataset
    if dataset.metainfo:
        dataset.ann_file = f'{path}.json'
        things, stuff = dataset.metainfo.thing_classes, dataset.metainfo.stuff_classes
        categories = [dict(id=k, name=name, isthing=int(name in things))
                      for k, name in enumerate((*things, *stuff))]
        Path(dataset.ann_file).write_text(json.dumps(dict(
            images=[dict(id=1, file_name='a.png', height=8, width=8)], annotations=[],
            categories=categories)))
    cfg.dump(file)
    return load_trained(argparse.Namespace(config=file, checkpoint=path, cfg_options=None))[0]


WAYS = pytest.mark.parametrize('load', [
    with_init_detector, with_mmdets_inferencer, with_our_inferencer, with_tools])


def saved(tmp_path, state, **meta):
    path = tmp_path / 'x.pth'
    torch.save(dict(state_dict=state, meta=meta), path)
    return str(path)


@WAYS
def test_names_of_the_config_without_any_in_the_checkpoint(load, tmp_path, state):
    path = saved(tmp_path, state)
    model = load(make_config(), path)
    assert tuple(model.dataset_meta['classes']) == NAMES
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    # mmdetection's data set of COCO names 80 classes
    cfg = make_config()
    cfg.test_dataloader.dataset = dict(
        cfg.test_dataloader.dataset, type='CocoDataset', metainfo=None)
    with pytest.raises((ValueError, UsageError), match="data set names 80 classes .*the model has "
                       '3 .*set metainfo of test_dataloader.dataset'):
        load(cfg, path)


@WAYS
@pytest.mark.parametrize('meta', [dict(dataset_meta=dict(classes=NAMES)), dict(CLASSES=NAMES)])
def test_names_of_the_checkpoint(load, tmp_path, state, meta):
    model = load(make_config(), saved(tmp_path, state, **meta))
    assert tuple(model.dataset_meta['classes']) == NAMES
    for names, text in ((NAMES[:2], 'the checkpoint names 2 classes .*the model has 3'),
                        (NAMES[::-1], 'same classes in another order: label 0 is .ground.')):
        with pytest.raises((ValueError, UsageError), match=text):
            load(make_config(), saved(tmp_path, state, dataset_meta=dict(classes=names)))


@WAYS
@pytest.mark.parametrize('options, texts', [
    (dict(panoptic_head__num_queries=12),
     [r'query_feat.weight \[8, 32\], here \[12, 32\]',
      r"2 of the model's \d+ tensors have another"]),
    (dict(num_stuff_classes=3), [r'cls_embed.weight \[4, 32\], here \[5, 32\]']),
    (dict(panoptic_head__transformer_decoder__num_layers=2),
     [r'\d+ of the model\'s \d+ tensors are missing in it: panoptic_head.transformer_decoder.'
      r'layers.1.']),
    (dict(panoptic_head__pixel_decoder__num_layers=0),
     [r'\d+ of its tensors are not in the model: panoptic_head.pixel_decoder.encoder.layers.0'])])
def test_checkpoints_of_another_model(load, tmp_path, state, options, texts):
    cfg = make_config(**options)
    cfg.test_dataloader.dataset.metainfo.stuff_classes = tuple(
        f'stuff {i}' for i in range(cfg.model.num_stuff_classes))
    with pytest.raises((CheckpointError, UsageError), match='one of another model') as error:
        load(cfg, saved(tmp_path, state))
    text = str(error.value)
    assert '\n' not in text and 'use the config that it was trained with' in text
    assert all(re.search(pattern, text) for pattern in texts)


@WAYS
def test_checkpoints_of_other_code(load, tmp_path):
    torch.save(dict(model={f'sem_seg_head.predictor.query_{name}.weight': torch.ones(1)
                           for name in ('feat', 'embed')}), tmp_path / 'x.pth')
    with pytest.raises((CheckpointError, UsageError), match='has the format of '
                       'facebookresearch/Mask2Former.*convert.py'):
        load(make_config(), str(tmp_path / 'x.pth'))


@WAYS
@pytest.mark.parametrize('change', [
    lambda state: {f'module.{key}': value for key, value in state.items()},
    # state dict of an averaged model
    lambda state: dict({f'module.{key}': value for key, value in state.items()},
                       steps=torch.tensor(9)),
    # mmdetection's loss, counters of tools
    lambda state: dict(state, **{'panoptic_head.loss_cls.class_weight': torch.ones(4),
                                 'backbone.total_ops': torch.zeros(1)}),
    lambda state: {key: value for key, value in state.items() if 'num_batches' not in key},
    lambda state: dict(state, **{'panoptic_head.label_embed.weight': torch.ones(3, 32)})])
def test_what_does_not_matter_is_accepted(load, tmp_path, state, change):
    model = load(make_config(), saved(tmp_path, change(state)))
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[key])


def test_deliberate_subsets(state):
    """``strict=False`` of torch's own function is respected."""
    model = MODELS.build(make_config().model)
    part = {key: value for key, value in state.items() if key.startswith('backbone.')}
    model.load_state_dict(part, strict=False)
    model.cfg = make_config()
    model.load_state_dict(part, strict=False)
    with pytest.raises(RuntimeError, match='Missing key'):
        model.load_state_dict(part)


def test_models_without_any_names(tmp_path, state):
    cfg = make_config(metainfo=dict())
    model = with_init_detector(cfg, saved(tmp_path, state))
    assert model.dataset_meta['classes'] == ('class 0', 'class 1', 'class 2')


def test_names_in_wrappers_and_files(tmp_path):
    cfg = make_config()
    inner = cfg.test_dataloader.dataset
    for wrapper in (dict(type='RepeatDataset', times=2, dataset=inner),
                    dict(type='ConcatDataset', datasets=[inner, inner])):
        cfg.test_dataloader.dataset = wrapper
        assert config_metainfo(cfg)['classes'] == NAMES
    (tmp_path / 'x.json').write_text(
        '{"images": [{"id": 1, "file_name": "a.png", "height": 8, "width": 8}], '
        '"annotations": [], "categories": [{"id": 2, "name": "sky", "isthing": 0},'
        ' {"id": 1, "name": "ball", "isthing": 1}]}')
    cfg = make_config(metainfo=dict())
    cfg.test_dataloader.dataset.ann_file = str(tmp_path / 'x.json')
    assert config_metainfo(cfg)['classes'] == ('ball', 'sky')
    cfg.test_dataloader = None
    assert config_metainfo(cfg) == {}


def test_class_names_that_agree():
    for known, configured in (
            (NAMES, NAMES), (NAMES, None), (None, None), (NAMES, ('a', 'b', 'c'))):
        assert check_class_names(3, known, configured) is None


@pytest.mark.parametrize('palette', [None, 'short'])
def test_pictures_without_palette(tmp_path, state, palette):
    info = dict(thing_classes=NAMES[:1], stuff_classes=NAMES[1:])
    if palette:
        info['palette'] = [(1, 2, 3)]
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / 'a.png'), image)
    inferencer = PanopticInferencer(make_config(info), saved(tmp_path, state), device='cpu',
                                    show_progress=False)
    result = inferencer(str(tmp_path / 'a.png'), return_vis=True)
    assert result['visualization'][0].ndim == 3
    assert {s['class_name'] for s in result['predictions'][0]['segments_info']} <= set(NAMES)


def test_pretrained_weights_that_cannot_be_fetched():
    model = MODELS.build(make_config().model)
    with pytest.raises(CheckpointError) as error:
        model.init_weights()
    text = str(error.value)
    assert '\n' not in text
    for part in (f'model.backbone.init_cfg.checkpoint={URL}', 'load_from', 'init_cfg=None'):
        assert part in text
