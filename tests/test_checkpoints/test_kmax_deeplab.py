"""kMaX-DeepLab at its published widths, backbone included, with weights made by a recipe."""
import numpy as np
import pytest
import torch

from mmpanseg.checkpoints import check_fit, convert
from mmpanseg.models.segmentors.mask_transformer import MaskTransformer

FIVE = dict(
    type='mmpanseg.KMaXPixelDecoder', num_blocks=(1, 5, 1, 1, 1),
    base_channels=(512, 256, 128, 64, 32), stem_before_res2=True,
    stage_types=('axial', 'axial', 'bottleneck', 'bottleneck', 'bottleneck'))
NORM = dict(type='BN', eps=1e-3, momentum=0.01)
CASES = {
    'r50_coco': ('manifest_r50', 80, 53, dict(type='mmpanseg.KMaXResNet', depth=50, norm_cfg=NORM),
                 dict(in_channels=[256, 512, 1024, 2048])),
    'convnext_t_coco': ('manifest_convnext_t', 80, 53, dict(type='mmpanseg.ConvNeXt', arch='tiny'),
                        dict(in_channels=[96, 192, 384, 768])),
    'r50_cityscapes': (
        'manifest_r50_cityscapes', 8, 11,
        dict(type='mmpanseg.KMaXResNet', depth=50, norm_cfg=NORM, with_stem=True),
        dict(in_channels=[64, 256, 512, 1024, 2048], num_queries=256, pixel_decoder=FIVE,
             semantic_head=dict(type='mmpanseg.KMaXSimpleSemanticHead'))),
}


def recipe_values(shape: torch.Size, key: str, index: int, seed: int) -> torch.Tensor:
    """Values of one tensor as the fixture's README defines them."""
    numel = int(np.prod(shape, dtype=np.int64))
    with np.errstate(over='ignore'):
        x = np.arange(numel, dtype=np.uint32)
        x += np.uint32((0x9E3779B9 * (index + 1) + 0x85EBCA6B * seed) % 2 ** 32)
        x ^= x >> np.uint32(16)
        x *= np.uint32(0x7FEB352D)
        x ^= x >> np.uint32(15)
        x *= np.uint32(0x846CA68B)
        x ^= x >> np.uint32(16)
    u = x.astype(np.float64) / 2 ** 32
    if key.endswith('_kmeans_query_batch_norm_retrieved_value.running_var'):
        u = 100 * (0.5 + u)
    elif key.endswith('running_var') or len(shape) == 1 and key.endswith('.weight') and not (
            key.endswith(('_embeddings.weight', '_cluster_centers.weight'))):
        u = 0.5 + u
    elif key.endswith('running_mean'):
        u = 0.1 * (u - 0.5)
    elif key.endswith(('_embeddings.weight', '_cluster_centers.weight')):
        u = 2 * (u - 0.5)
    elif len(shape) == 1:
        u = 0.1 * (u - 0.5)
    else:
        u = np.sqrt(12 / np.prod(shape[1:])) * (u - 0.5)
    return torch.from_numpy(u.astype(np.float32)).view(shape)


def error(ours: torch.Tensor, published: torch.Tensor) -> float:
    assert ours.shape == published.shape
    return ((ours - published).abs().max() / published.abs().max().clamp(min=1)).item()


@pytest.fixture
def no_start_values(monkeypatch):
    """Half of the time would go into random numbers that are overwritten."""
    for name in ('trunc_normal_', 'kaiming_uniform_', 'normal_', 'uniform_'):
        monkeypatch.setattr(torch.nn.init, name, lambda tensor, *args, **kwargs: tensor)


@pytest.mark.usefixtures('no_start_values')
@pytest.mark.parametrize('name', CASES)
@torch.no_grad()
def test_matches_the_published_model(golden, published, name):
    case = torch.load(golden / 'kmax_deeplab/full_size_from_recipe.pth', weights_only=True)[name]
    manifest, things, stuff, backbone, head = CASES[name]
    shapes = published(f'kmax_deeplab/{manifest}.json')
    keys = sorted(key for key in shapes if not key.endswith('num_batches_tracked'))
    assert len(keys) == case['settings']['num_float_tensors']
    state = {key: recipe_values(shapes[key].shape, key, index, case['settings']['recipe_seed'])
             for index, key in enumerate(keys)}
    for key, index in case['recipe_check']['tensor_index_of_key'].items():
        assert keys.index(key) == index
        first = case['recipe_check']['first_values'][key]
        assert torch.equal(state[key].flatten()[:len(first)], first)
    counters = {key: torch.tensor(3) for key in shapes.keys() - state.keys()}

    model = MaskTransformer(things, stuff, backbone, dict(
        type='mmpanseg.KMaXDeepLabHead', **head)).eval()
    converted = convert({**state, **counters})
    assert converted.source == 'kmax_deeplab' and not converted.unused
    check_fit(converted, model)
    model.load_state_dict(converted.state_dict)
    del state, converted

    features = model.extract_feat(case['image'])
    for ours, expected in zip(features[-4:], case['features'].values() if len(features) == 4
                              else list(case['features'].values())[1:], strict=True):
        assert list(ours.shape) == expected['shape']
        assert error(ours[:, :4], expected['first_channels']) < 2e-4
    predictions = model.panoptic_head.decode(features)
    expected, last = case['outputs'], predictions[-1]
    assert error(last.cls_logits, expected['pred_logits']) < 2e-4
    assert error(last.mask_logits[:, :96], expected['pred_masks']) < 2e-4
    assert error(last.pixel_embeds[:, :16], expected['pixel_feature_first_channels']) < 2e-4
    semantic = model.panoptic_head.semantic_head(features)
    published_semantic = expected['aux_semantic_pred_first_channels']
    assert error(semantic[:, :published_semantic.shape[1]], published_semantic) < 2e-4
    for ours, cls_logits in zip(predictions[:-1], expected['aux_pred_logits_first_queries'],
                                strict=True):
        assert error(ours.cls_logits[:, :8], cls_logits) < 2e-4
