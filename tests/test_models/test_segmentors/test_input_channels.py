"""Pretrained weights for other numbers of channels, and images that do not fit the model."""
import copy
import pickle

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.runner import load_checkpoint

from mmpanseg.models.segmentors import input_channels
from mmpanseg.models.segmentors.input_channels import ADAPTATIONS, adapt_first_convolution
from mmpanseg.registry import MODELS

from ..systems import MASK2FORMER, NORMALIZE, SWIN

RESNET = dict(type='ResNet', depth=18, base_channels=8)
BACKBONES = dict(
    resnet=(RESNET, 'conv1'),
    deep_stem=(dict(type='ResNetV1d', depth=18, base_channels=8, stem_channels=8), 'stem.0'),
    swin=(SWIN, 'patch_embed.projection'),
    convnext=(dict(type='mmpanseg.ConvNeXt', arch=((1, 1, 1, 1), (8, 16, 32, 64))),
              'downsample_layers.0.0'))


def model_config(channels=3, **changes):
    config = copy.deepcopy(MASK2FORMER)
    config.update(type='mmpanseg.MaskTransformer', num_things_classes=2, num_stuff_classes=2,
                  **changes)
    config['backbone']['in_channels'] = channels
    if channels != 3:
        config['data_preprocessor'] = dict(
            type='mmpanseg.ChannelDataPreprocessor', mean=[100.0] * channels,
            std=[50.0] * channels, pad_size_divisor=32)
    return config


@torch.no_grad()
def features(backbone, image):
    backbone.eval()
    return backbone(image)


def test_formulas():
    weight = torch.randn(4, 3, 2, 2, dtype=torch.float64)
    for channels in (1, 2, 3, 4, 7):
        image = torch.randn(1, 1, 6, 6, dtype=torch.float64)
        alike = torch.nn.functional.conv2d(image.expand(-1, 3, -1, -1), weight)
        found = torch.nn.functional.conv2d(
            image.expand(-1, channels, -1, -1),
            adapt_first_convolution(weight, channels, 'average'))
        torch.testing.assert_close(found, alike)
        repeated = adapt_first_convolution(weight, channels, 'repeat')
        for c in range(channels):
            torch.testing.assert_close(repeated[:, c], weight[:, c % 3] * 3 / channels)
    image = torch.randn(1, 7, 6, 6, dtype=torch.float64)
    torch.testing.assert_close(
        torch.nn.functional.conv2d(image, adapt_first_convolution(weight, 7, 'zero')),
        torch.nn.functional.conv2d(image[:, :3], weight))
    with pytest.raises(ValueError, match="^model.new_channels='zero' keeps the weights of 3 "
                                         "channels, but model.backbone.in_channels is 1: use"):
        adapt_first_convolution(weight, 1, 'zero')


@pytest.mark.parametrize('kind', BACKBONES)
def test_pretrained_backbones(tmp_path, monkeypatch, kind):
    """By init_cfg, as a run loads them; the log tells the channels."""
    said = []
    monkeypatch.setattr(input_channels, 'print_log', lambda text, **_: said.append(text))
    config, first = BACKBONES[kind]
    torch.manual_seed(0)
    known = MODELS.build(config)
    path = str(tmp_path / 'weights.pth')
    # Swin reads attributes of the config, and the backbone of a whole model
    prefix = 'backbone.' if kind == 'swin' else ''
    torch.save(dict(state_dict={prefix + name: value for name, value in
                                known.state_dict().items()}), path)
    init = dict(init_cfg=ConfigDict(type='Pretrained', checkpoint=path))
    image = torch.randn(1, 5, 64, 64)
    ways = ADAPTATIONS if kind == 'resnet' else ('zero', )
    for how in ways:
        backbone = dict(config, in_channels=5, **init)
        model = MODELS.build(dict(model_config(5, new_channels=how), backbone=backbone,
                                  panoptic_head=dict(MASK2FORMER['panoptic_head'], in_channels=[
                                      len(x[0]) for x in features(known, image[:, :3])])))
        model.init_weights()
        weight = known.get_submodule(first).weight
        assert torch.equal(model.backbone.get_submodule(first).weight,
                           adapt_first_convolution(weight, 5, how))
        others = {name: value for name, value in model.backbone.state_dict().items()
                  if name != f'{first}.weight'}
        assert all(torch.equal(value, known.state_dict()[name]) for name, value in others.items())
        if how == 'zero':  # the network computes what it computed
            for ours, theirs in zip(features(model.backbone, image),
                                    features(known, image[:, :3])):
                torch.testing.assert_close(ours, theirs)
    assert [text.split(',')[0] for text in said] == [
        f'model.backbone.{first}.weight: weights for 3 channels are adapted to 5 by '
        f'new_channels={how!r}' for how in ways]
    assert 'channels 0: R, 1: G, 2: B; the further 2 are 0' in said[-1]
    if kind != 'resnet':
        return
    assert 'channels 0: R, 1: G, 2: B, 3: R, 4: G, times 3/5' in said[0]
    assert 'each the mean of R, G, B, times 3/5' in said[1]


def test_whole_checkpoints(tmp_path):
    torch.manual_seed(0)
    known = MODELS.build(model_config())
    path = str(tmp_path / 'model.pth')
    torch.save(dict(state_dict=known.state_dict()), path)
    gray = MODELS.build(model_config(1, new_channels='average'))
    for model in (gray, pickle.loads(pickle.dumps(gray)), copy.deepcopy(gray)):
        load_checkpoint(model, path, map_location='cpu')
        image = torch.randn(1, 1, 64, 64)
        for ours, theirs in zip(features(model.backbone, image),
                                features(known.backbone, image.expand(-1, 3, -1, -1))):
            torch.testing.assert_close(ours, theirs)
    # one of its own channels is not adapted
    torch.save(dict(state_dict=gray.state_dict()), path)
    again = MODELS.build(model_config(1, new_channels='average'))
    load_checkpoint(again, path, map_location='cpu')
    assert torch.equal(again.backbone.conv1.weight, gray.backbone.conv1.weight)
    with pytest.raises(ValueError, match=r'trained with images of 1 channels .*in_channels is 3: '
                                         'to fine-tune it, set model.new_channels to one of'):
        load_checkpoint(MODELS.build(model_config()), path, map_location='cpu')


@pytest.mark.parametrize('changes, text', [
    (dict(new_channels='sum'), "model.new_channels='sum' must be one of repeat, average, zero"),
    (dict(data_preprocessor=dict(type='DetDataPreprocessor', **NORMALIZE)),
     'model.data_preprocessor.mean has 3 values, but model.backbone.in_channels is 5: give 5 v'),
    (dict(data_preprocessor=dict(type='DetDataPreprocessor', mean=[1] * 5, std=[1] * 5)),
     'has 5 values, and DetDataPreprocessor takes 1 or 3: set .*mmpanseg.ChannelDataPreprocessor')])
def test_configs_that_do_not_fit(changes, text):
    config = model_config(5)
    config.update(changes)
    with pytest.raises(ValueError, match=text) as caught:
        MODELS.build(config)
    assert '\n' not in str(caught.value)


def test_images_that_do_not_fit():
    sample = DetDataSample(metainfo=dict(img_path='photos/a.tif', img_shape=(32, 32)))
    for channels, model in ((5, MODELS.build(model_config())), (3, MODELS.build(model_config(5)))):
        fits = torch.zeros(8 - channels, 32, 32)
        for images in ([torch.zeros(channels, 32, 32)], [torch.zeros(channels, 32, 32), fits]):
            data = dict(inputs=images, data_samples=[sample] * len(images))
            with pytest.raises(ValueError, match=rf'^photos/a.tif has {channels} channels and the '
                                                 rf'model {8 - channels} \(model.backbone.in_'):
                model.data_preprocessor(data, True)
        assert model.data_preprocessor(dict(inputs=[fits], data_samples=[sample]), False)
