"""Memory format of feature maps, chosen by device, processor and direction."""
import pytest
import torch
from mmengine.config import ConfigDict

from mmpanseg.registry import MODELS
from mmpanseg.utils import device as device_module
from mmpanseg.utils.device import conv_memory_format


@pytest.mark.parametrize('capability, training, expected', [
    ('AVX2', True, torch.contiguous_format), ('AVX2', False, torch.channels_last),
    ('AVX512', True, torch.channels_last), ('DEFAULT', True, torch.channels_last)])
def test_choice_on_a_cpu(monkeypatch, capability, training, expected):
    monkeypatch.setattr(device_module, '_CPU', capability)
    with torch.set_grad_enabled(training):
        assert conv_memory_format(torch.device('cpu')) == expected
        assert conv_memory_format(torch.device('cuda')) == torch.channels_last


@pytest.mark.parametrize('order', [torch.contiguous_format, torch.channels_last])
def test_pixel_decoder_in_any_order(monkeypatch, order):
    """Results and gradients do not depend on it, and mask features are channels last."""
    torch.manual_seed(0)
    decoder = MODELS.build(ConfigDict(
        type='mmpanseg.MSDeformAttnPixelDecoder', in_channels=[4, 6, 8, 10], channels=32,
        out_channels=8, num_layers=1, num_heads=4, feedforward_channels=16)).double()
    decoder.init_weights()
    features = [torch.randn(2, c, 16 >> i, 24 >> i, dtype=torch.double)
                for i, c in enumerate((4, 6, 8, 10))]

    def run(chosen):
        monkeypatch.setattr('mmpanseg.models.pixel_decoders.msdeformattn.conv_memory_format',
                            lambda device: chosen)
        decoder.zero_grad()
        mask_features, maps = decoder(features)
        (mask_features.square().sum() + sum(m.square().sum() for m in maps)).backward()
        return [mask_features, *maps, *(p.grad.clone() for p in decoder.parameters())]

    expected = run(torch.channels_last)
    results = run(order)
    assert results[0].is_contiguous(memory_format=torch.channels_last)
    for result, value in zip(results, expected):
        torch.testing.assert_close(result, value, rtol=1e-9, atol=1e-9)
