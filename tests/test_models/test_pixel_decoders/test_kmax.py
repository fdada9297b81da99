"""Pixel decoder of kMaX-DeepLab against the published outputs."""
import pytest
import torch

from mmpanseg.checkpoints.kmax_deeplab import convert_kmax_deeplab
from mmpanseg.models.pixel_decoders.kmax import KMaXPixelDecoder

CASES = ['four_stages_65x97', 'four_stages_even_64x96', 'five_stages_resnet_order_65x129',
         'five_stages_convnext_order_65x65']
NAMES = ['stem', 'res2', 'res3', 'res4', 'res5']
PREFIX = 'panoptic_head.pixel_decoder.'


def build(settings: dict, **kwargs) -> KMaXPixelDecoder:
    channels = settings['input_channels']
    return KMaXPixelDecoder(
        [channels[name] for name in NAMES if name in channels], settings['dec_layers'],
        settings['dec_channels'], settings['layer_types'], settings['num_heads'],
        stem_before_res2=settings['in_features_order'][-1] == 'res2' and 'stem' in channels,
        **kwargs).eval()


def converted(case: dict) -> dict:
    state_dict = convert_kmax_deeplab(
        {f'pixel_decoder.{key}': value for key, value in case['state_dict'].items()})
    return {key.removeprefix(PREFIX): value for key, value in state_dict.items()}


def features(case: dict) -> list[torch.Tensor]:
    return [case['inputs'][name] for name in NAMES if name in case['inputs']]


def error(ours: torch.Tensor, published: torch.Tensor) -> float:
    assert ours.shape == published.shape
    return ((ours - published).abs().max() / published.abs().max().clamp(min=1)).item()


@pytest.mark.parametrize('name', CASES)
@torch.no_grad()
def test_matches_the_published_decoder(golden, name):
    case = torch.load(golden / 'kmax_deeplab/pixel_decoder.pth', weights_only=True)[name]
    decoder = build(case['settings'])
    decoder.load_state_dict(converted(case))
    fused = {}
    for index, fusion in enumerate(decoder.fusions):
        fusion.register_forward_hook(
            lambda _, __, output, index=index: fused.update({f'_resized_fuses.{index}': output}))
    last, maps = decoder(features(case))
    assert error(last, case['outputs']['panoptic_features']) < 2e-5
    for ours, published in zip(maps, case['outputs']['multi_scale_features']):
        assert error(ours, published) < 2e-5
    for key in fused.keys() & case['intermediates'].keys():
        assert error(fused[key], case['intermediates'][key]) < 2e-5


def small(**kwargs) -> KMaXPixelDecoder:
    return KMaXPixelDecoder([8, 16, 24, 40], (1, 1, 1, 1), (8, 8, 8, 8), **kwargs)


def maps_of(height: int, width: int) -> list[torch.Tensor]:
    return [torch.randn(2, channels, -(-height // stride), -(-width // stride))
            for channels, stride in zip((8, 16, 24, 40), (4, 8, 16, 32))]


@torch.no_grad()
def test_other_sizes_run_and_leave_the_training_size_unchanged():
    torch.manual_seed(0)
    decoder = small().eval()
    trained_on = maps_of(65, 97)
    first = decoder(trained_on)[0]
    for size in ((33, 33), (64, 128), (97, 161)):
        assert decoder(maps_of(*size))[0].shape[-2:] == maps_of(*size)[0].shape[-2:]
    assert torch.equal(decoder(trained_on)[0], first)


def test_a_stage_hook_changes_what_the_next_stage_reads():
    torch.manual_seed(0)
    decoder = small().eval()
    inputs, seen = maps_of(33, 33), []

    def hook(stage, x):
        seen.append(stage)
        return x + 1 if stage == 0 else x

    assert not torch.equal(decoder(inputs, hook)[0], decoder(inputs)[0])
    assert seen == [0, 1, 2, 3]


def test_dilation_and_corners_of_the_tensorflow_version():
    torch.manual_seed(0)
    published, tensorflow = small().eval(), small(dilation=2, align_corners='always').eval()
    for module in published.modules():  # residual branches are initialized to zero
        if hasattr(module, 'running_var') and module.weight.abs().sum() == 0:
            torch.nn.init.ones_(module.weight)
    tensorflow.load_state_dict(published.state_dict())
    inputs = maps_of(65, 97)
    assert tensorflow.stages[3][0].conv2.conv.dilation == (2, 2)
    ours, theirs = published(inputs)[0], tensorflow(inputs)[0]
    assert ours.shape == theirs.shape and not torch.allclose(ours, theirs)


def test_starts_as_the_sum_of_its_shortcuts():
    decoder = small()
    for stage in decoder.stages:
        assert not stage[0].conv3.norm.weight.any()


@pytest.mark.parametrize('kwargs, text', [
    (dict(num_blocks=(1, 5, 1)), r'in_channels \(4\), num_blocks \(3\)'),
    (dict(stage_types=('axial', 'axial', 'conv', 'conv')), r'stage_types\[2\].*axial, bottleneck'),
    (dict(align_corners='even'), "align_corners='even' is unknown"),
    (dict(stem_before_res2=True), 'needs five backbone maps'),
])
def test_contradicting_settings_raise(kwargs, text):
    with pytest.raises(ValueError, match=text):
        KMaXPixelDecoder([8, 16, 24, 40], **{**dict(base_channels=(8, 8, 8, 8)), **kwargs})
