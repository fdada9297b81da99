"""Tiny models of the four systems, built from the published configs, and a batch for them."""
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from torch import nn

from mmpanseg.registry import MODELS
from mmpanseg.structures.segment_map import SegmentMap

ROOT = Path(__file__).resolve().parents[2]
SIZE = (64, 96)
SYSTEMS = {
    'mask2former': 'mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py',
    'mp_former': 'mp_former/mp_former_r50_8xb2-lsj-50e_coco-panoptic.py',
    'panoptic_segformer': 'panoptic_segformer/panoptic_segformer_r50_8xb1-24e_coco-panoptic.py',
    'panoptic_segformer-v1':
        'panoptic_segformer/panoptic_segformer-v1_r50_8xb1-50e_coco-panoptic.py',
    'd-detr': 'panoptic_segformer/baselines/d-detr-ms_r50_8xb1-50e_coco-panoptic.py',
    'kmax_deeplab': 'kmax_deeplab/kmax_deeplab_r50_32xb2-150k_coco-panoptic.py'}


def tiny_config(path: Path) -> Config:
    """A config with all parts of its model made tiny; 3 things and 3 stuff."""
    config = Config.fromfile(path)
    model, head = config.model, config.model.panoptic_head
    model.update(num_things_classes=3, num_stuff_classes=3)
    model.backbone.update(depth=18, base_channels=8, init_cfg=None)
    widths = {1024: 32, 2048: 64, 512: 16, 256: 8}
    head.in_channels = [widths[width] for width in head.in_channels]
    head.num_queries = 12
    if 'KMaX' in head.type:
        model.data_preprocessor.size = None
        head.update(query_channels=32, channels=32, embed_channels=16)
        if head.get('num_train_queries'):
            head.num_train_queries = 8
        head.pixel_decoder.update(num_blocks=(1, 1, 1, 1), base_channels=(16, 16, 8, 8))
        head.transformer_decoder.update(base_channels=16, ffn_channels=32)
        head.semantic_head.update(channels=16, low_level_channels=(8, 8))
        head.criterion.update(num_pixels=64, num_semantic_pixels=64)
    elif 'location_decoder' in head:
        layers = dict(num_layers=2, feedforward_channels=64)
        head.update(channels=128, max_per_image=8)
        head.pixel_decoder.update(layers)
        head.location_decoder.update(layers)
    else:
        layers = dict(num_layers=3, num_heads=4, feedforward_channels=32)
        head.update(channels=32, out_channels=32)
        head.transformer_decoder.update(layers)
        if head.pixel_decoder.type in ('mmpanseg.MSDeformAttnPixelDecoder',
                                       'mmpanseg.TransformerFPNPixelDecoder'):
            head.pixel_decoder.update(layers, num_layers=1)
        head.criterion.num_points = 64
    return config


def build_tiny(path: Path) -> nn.Module:
    """Its model, in training mode, with weights that differ from their initial zeros."""
    torch.manual_seed(0)
    model = MODELS.build(tiny_config(path).model)
    model.init_weights()
    for parameter in model.parameters():
        if parameter.ndim < 2:
            parameter.data += 0.05 * torch.randn_like(parameter)
    return model.train()


@pytest.fixture(params=SYSTEMS)
def system(request) -> nn.Module:
    """A tiny model of each system."""
    return build_tiny(ROOT / 'configs' / SYSTEMS[request.param])


@pytest.fixture
def tiny_model() -> Callable[[str], nn.Module]:
    """Return the tiny model of a config below ``configs/``."""
    return lambda name: build_tiny(ROOT / 'configs' / name)


@pytest.fixture
def tiny_batch():
    """Two images of noise, with samples of three segments and of one."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(2, 3, *SIZE, generator=generator)
    index = torch.full(SIZE, -1, dtype=torch.int32)
    index[:32, :50], index[36:, :40], index[:, 60:] = 0, 1, 2
    samples = []
    for labels, map_ in (([0, 4, 1], index), ([2], index.clamp(max=0))):
        samples.append(DetDataSample(
            metainfo=dict(batch_input_shape=SIZE, img_shape=SIZE, ori_shape=SIZE, pad_shape=SIZE),
            gt_segments=SegmentMap(torch.tensor(labels), map=map_)))
    return images, samples
