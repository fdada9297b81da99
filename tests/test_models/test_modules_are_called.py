"""Layers are called, so that hooks and replaced layers take effect."""
import copy

import pytest
import torch
from mmcv.transforms import to_tensor
from mmdet.structures import DetDataSample
from torch import nn
from torch.ao.quantization import quantize_dynamic

from mmpanseg.evaluation.query_trace import trace_queries
from mmpanseg.models.inference.test_time_augmentation import PanopticTTAModel
from mmpanseg.models.layers.attention import Attention
from mmpanseg.models.transformer_decoders.segformer_mask_decoder import MaskGenerator

LAYERS = (nn.Linear, nn.modules.conv._ConvNd, nn.MultiheadAttention)


def test_every_layer_is_called(system, tiny_batch):
    layers = {name: layer for name, layer in system.named_modules() if isinstance(layer, LAYERS)}
    called = set()
    for name, layer in layers.items():
        layer.register_forward_hook(lambda *_, name=name: called.add(name))
    system.loss(*tiny_batch)
    inside = {name for name in layers  # PyTorch's attention reads its weights directly
              if type(layers.get(name.rpartition('.')[0])) is nn.MultiheadAttention}
    assert set(layers) - inside == called - inside


class Doubled(nn.Module):
    """Doubles the output of a layer and exposes its weight, as adapters do."""

    def __init__(self, base):
        super().__init__()
        self.base = base

    def __getattr__(self, name):
        return super().__getattr__(name) if name == 'base' else getattr(self.base, name)

    def forward(self, *args):
        return 2 * self.base(*args)


def test_replaced_attention():
    torch.manual_seed(0)
    attention = Attention(8, 2).eval()
    query, memory = torch.randn(1, 3, 8), torch.randn(1, 5, 8)
    expected = attention(query, memory, memory)
    attention.attn = Doubled(attention.attn)
    torch.testing.assert_close(attention(query, memory, memory), 2 * expected)


def changed(generator, name):
    layer = generator.fuse if name == 'fuse' else generator.level_projs[1]
    if name == 'fuse':
        generator.fuse = Doubled(layer)
    else:
        generator.level_projs[1] = Doubled(layer)
    return generator


@pytest.mark.parametrize('name', ['fuse', 'proj'])
def test_replaced_layers_of_a_mask_generator(name):
    """Doubling the output of linear layers equals doubling their weights."""
    torch.manual_seed(0)
    generator = MaskGenerator(4, 3).double()
    sizes = ((8, 6), (4, 3), (2, 2))
    attention = torch.randn(5, 4, 48 + 12 + 4, dtype=torch.double)
    weighted = copy.deepcopy(generator)
    layer = weighted.fuse if name == 'fuse' else weighted.level_projs[1]
    layer.weight.data *= 2
    layer.bias.data *= 2
    torch.testing.assert_close(
        changed(generator, name)(attention, sizes), weighted(attention, sizes))


def test_a_listened_mask_generator_has_the_same_values():
    torch.manual_seed(0)
    generator = MaskGenerator(4, 3, 'sigmoid').double()
    sizes = ((8, 6), (4, 3), (2, 2))
    attention = torch.randn(5, 4, 48 + 12 + 4, dtype=torch.double)
    expected = generator(attention, sizes)
    shapes = []
    generator.fuse.register_forward_hook(lambda *call: shapes.append(call[2].shape))
    torch.testing.assert_close(generator(attention, sizes), expected)
    assert shapes == [(5, 8, 6, 1)]


@torch.no_grad()
def test_dynamic_quantization(system, tiny_batch):
    images, samples = tiny_batch
    metainfos = [sample.metainfo for sample in samples]
    expected, _ = system.eval().predict_queries(images, metainfos)
    quantized = quantize_dynamic(system, {nn.Linear}, dtype=torch.qint8)
    found, masks = quantized.predict_queries(images, metainfos)
    assert masks.dense(-1, 0, torch.arange(3)).isfinite().all()
    # candidates sorted by score may swap
    found, expected = (x.sigmoid().amax(-1).sort(-1).values for x in (found, expected))
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0.1)


def inference(model, images, samples):
    """Functions that predict, by name."""
    metainfos = [sample.metainfo for sample in samples]
    pictures = [to_tensor(image) for image in images]
    yield 'predict_queries', lambda: model.predict_queries(images, metainfos)
    yield 'test_step', lambda: model.test_step(dict(inputs=pictures, data_samples=samples))
    yield 'test-time augmentation', lambda: PanopticTTAModel(model).test_step(dict(
        inputs=[pictures], data_samples=[[DetDataSample(metainfo=dict(
            meta, flip=False)) for meta in metainfos]]))
    if model.panoptic_head.query_parts:
        yield 'trace_queries', lambda: trace_queries(
            model, dict(inputs=pictures, data_samples=samples))


def test_predictions_make_no_graph(system, tiny_batch):
    seen = []
    system.eval().backbone.register_forward_hook(
        lambda *_: seen.append(torch.is_grad_enabled()))
    with torch.enable_grad():
        for name, predict in inference(system, *tiny_batch):
            predict()
            assert seen and not any(seen), name
            seen.clear()
