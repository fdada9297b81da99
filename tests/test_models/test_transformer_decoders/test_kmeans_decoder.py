"""Layers of the k-means decoder against both published versions, gradients and options."""
import pytest
import torch

from mmpanseg.checkpoints.kmax_deeplab import convert_kmax_deeplab
from mmpanseg.models.transformer_decoders.kmeans_decoder import KMeansLayer, sum_of_clusters

PREFIX = 'panoptic_head.transformer_decoder.layers.0.'
INTERACTIONS = {
    'cross_attention': 'cross-attention', 'dual_path': 'dual-path-cross-attention',
    'kmeans': 'k-means', 'dual_path_kmeans': 'dual-path-k-means',
    'dual_path_kmeans_with_cross': 'dual-path-k-means-cross-attention'}


def our_names(published: dict) -> dict:
    converted = convert_kmax_deeplab({
        f'predictor._kmax_transformer_layers.0.{key}': value for key, value in published.items()})
    return {key.removeprefix(PREFIX): value for key, value in converted.items()}


def error(ours: torch.Tensor, published: torch.Tensor) -> float:
    assert ours.shape == published.shape
    return ((ours - published).abs().max() / published.abs().max().clamp(min=1)).item()


@pytest.fixture
def case(golden):
    return torch.load(golden / 'kmax_deeplab/kmeans_layer.pth', weights_only=True)


@pytest.fixture
def layer(case):
    settings = case['settings']
    layer = KMeansLayer(
        settings['in_channel_pixel'], settings['num_classes'] - 1, settings['in_channel_query'],
        settings['base_filters'], settings['num_heads'], settings['ffn_channels'],
        settings['mask_embedding_channels'])
    layer.load_state_dict(our_names(case['state_dict']))
    return layer


def outputs_of(layer, case, names):
    """Record the outputs of submodules during one forward pass in evaluation mode."""
    seen = {}
    for name in names:
        layer.get_submodule(name).register_forward_hook(
            lambda _, inputs, output, name=name: seen.update(
                {name: output, f'{name}.in': inputs[0]}))
    with torch.no_grad():
        result = layer.eval()(case['inputs']['pixel_feature'], case['inputs']['query_feature'])
    return result, seen


def test_matches_the_published_layer(case, layer):
    result, seen = outputs_of(layer, case, [
        'query_conv', 'pixel_conv', 'pixel_proj', 'update_norm', 'update_out', 'self_attn',
        'self_attn_out', 'ffn'])
    expected, steps = case['eval'], case['eval']['intermediates']
    assert error(seen['query_conv'], steps['query_space']) < 1e-5
    assert error(seen['pixel_conv'][:, :32], steps['pixel_space_first_channels']) < 1e-5
    assert error(seen['pixel_proj'][:, :32], steps['pixel_value_first_channels']) < 1e-5
    assert error(seen['update_norm.in'], steps['kmeans_update_sum']) < 1e-5
    assert error(seen['update_out'], steps['kmeans_update']) < 1e-5
    assert error(seen['self_attn'], steps['self_attention_value']) < 1e-5
    assert error(seen['self_attn_out'], steps['self_attention_update']) < 1e-5
    assert error(seen['ffn'], steps['ffn_update']) < 1e-5
    assert error(result.queries, expected['query_feature']) < 1e-5
    prediction = result.prediction
    assert error(prediction.cls_logits, expected['prediction']['class_logits']) < 1e-5
    assert error(prediction.mask_logits, expected['prediction']['mask_logits']) < 1e-5
    assert error(prediction.pixel_embeds[:, :64], expected['prediction']['pixel_feature']) < 1e-5
    assert torch.equal(prediction.mask_logits.argmax(1), expected['assignment_index'])
    assert result.pixels is case['inputs']['pixel_feature']


@pytest.mark.parametrize('kind', ['query_only', 'all'])
def test_gradients_are_the_published_ones(case, layer, kind):
    train = case['train']
    pixels, queries = (case['inputs'][name].clone().requires_grad_()
                       for name in ('pixel_feature', 'query_feature'))
    result = layer.train()(pixels, queries)
    prediction = result.prediction
    assert error(result.queries, train['query_feature']) < 1e-5
    assert error(prediction.cls_logits, train['prediction']['class_logits']) < 1e-5
    assert error(prediction.mask_logits, train['prediction']['mask_logits']) < 1e-5
    loss = (result.queries * train['cotangents']['query_feature']).sum()
    if kind == 'all':
        loss = (loss + (prediction.cls_logits * train['cotangents']['class_logits']).sum()
                + (prediction.mask_logits * train['cotangents']['mask_logits']).sum()
                + prediction.pixel_embeds[:, ::2].sum())
    loss.backward()
    expected = train['gradients'][kind]
    assert error(pixels.grad, expected['grad_pixel_feature']) < 1e-3
    assert error(queries.grad, expected['grad_query_feature']) < 1e-3
    norms = our_names({key: torch.tensor(value)
                       for key, value in expected['param_grad_l2'].items()})
    parameters = dict(layer.named_parameters())
    assert parameters.keys() == norms.keys()
    for name, norm in norms.items():
        grad = parameters[name].grad
        if norm < 0:
            assert grad is None, name
        else:
            assert abs(grad.norm() - norm) / norm.clamp(min=1) < 1e-3, name
    state_dict = layer.state_dict()
    for name, value in our_names(train['running_stats_after']).items():
        assert error(state_dict[name], value) < 1e-5, name


@pytest.mark.parametrize('name', INTERACTIONS)
@torch.no_grad()
def test_matches_the_published_interactions(golden, name):
    cases = torch.load(golden / 'kmax_deeplab/ablation_layers.pth', weights_only=True)
    case, settings, inputs = cases[name], cases['settings'], cases['inputs']
    layer = KMeansLayer(
        24, settings['num_classes_with_void'] - 1, 32, settings['base_filters'],
        settings['num_heads'], settings['ffn_channels'], settings['mask_embedding_channels'],
        interaction=INTERACTIONS[name]).eval()
    layer.load_state_dict(our_names(case['state_dict']))
    result = layer(inputs['pixel_feature'], inputs['query_feature'])
    assert error(result.queries, case['out_query']) < 1e-5
    assert error(result.pixels, case['out_pixel']) < 1e-5
    if 'kmeans' not in name:
        assert result.prediction is None
        return
    for ours, published in zip(result.prediction, (
            'transformer_class_logits', 'pixel_space_mask_logits',
            'pixel_space_normalized_feature')):
        assert error(ours, case[f'prediction_{published}']) < 1e-5


def test_clusters_are_sums_without_gradient_to_the_logits():
    torch.manual_seed(0)
    values = torch.randn(2, 3, 20, requires_grad=True)
    logits = torch.randn(2, 5, 20, requires_grad=True)
    with torch.no_grad():
        logits[0, 4] = -9  # a query without pixels
        logits[1, :, 7] = 1  # the first query wins ties
    sums = sum_of_clusters(values, logits)
    slow = torch.zeros(2, 3, 5)
    for image in range(2):
        for pixel in range(20):
            slow[image, :, logits[image, :, pixel].argmax()] += values[image, :, pixel].detach()
    torch.testing.assert_close(sums.detach(), slow)
    assert not sums[0, :, 4].any()
    sums.square().sum().backward()
    assert logits.grad is None and values.grad.abs().min() > 0


def test_sums_are_in_single_precision_under_autocast():
    values = torch.full((1, 1, 5000), 1.0, dtype=torch.bfloat16)
    with torch.autocast('cpu', torch.bfloat16):
        sums = sum_of_clusters(values, torch.zeros(1, 2, 5000, dtype=torch.bfloat16))
    assert sums.dtype == torch.float32 and sums.flatten().tolist() == [5000, 0]


def test_plain_attention_with_deep_supervision_predicts():
    layer = KMeansLayer(8, 3, 8, 8, 8, 16, 4, 'cross-attention', predict=True)
    result = layer(torch.randn(2, 8, 5, 5), torch.randn(2, 8, 6))
    assert result.prediction.cls_logits.shape == (2, 6, 4)
    assert not hasattr(layer, 'update_out')


def test_drop_path_is_sampled_for_each_update_and_image():
    torch.manual_seed(0)
    layer = KMeansLayer(8, 3, 8, 8, 8, 16, 4, drop_path=0.5)
    calls = []
    layer.drop_path.register_forward_hook(lambda _, inputs, output: calls.append(output))
    for norm in (layer.update_out.norm, layer.self_attn_out.norm, layer.ffn[1].norm):
        torch.nn.init.ones_(norm.weight)
    for _ in range(10):
        layer(torch.randn(4, 8, 5, 5), torch.randn(4, 8, 6))
    kept = torch.stack([call.flatten(1).any(1) for call in calls]).view(10, 3, 4)
    assert 0.25 < kept.float().mean() < 0.75
    assert (kept != kept[:, :1]).any() and (kept != kept[..., :1]).any()


def test_initially_queries_are_only_activated():
    layer = KMeansLayer(8, 3, 8, 8, 8, 16, 4)
    queries = torch.randn(2, 8, 6)
    gelu = torch.nn.functional.gelu
    torch.testing.assert_close(
        layer(torch.randn(2, 8, 5, 5), queries).queries, gelu(gelu(queries)))
    assert layer.predictor.mask_norm.weight.item() == pytest.approx(0.1)


def test_void_prior_is_the_published_constant_and_not_a_parameter():
    for classes, offset in ((133, 7.0876), (150, 7.2079), (19, 5.1417)):
        layer = KMeansLayer(8, classes, 8, 8, 8, 16, 4)
        assert layer.predictor.cls_offset[-1].item() == pytest.approx(offset, abs=1e-4)
        assert not any('cls_offset' in key for key in layer.state_dict())


def test_unknown_interaction_raises():
    with pytest.raises(ValueError, match="interaction='kmeans' is unknown; choose .* k-means"):
        KMeansLayer(8, 3, interaction='kmeans')


@pytest.mark.parametrize('kind', ['BN', 'BN1d', 'BN2d'])
def test_batch_norms_fit_maps_and_sequences(kind):
    layer = KMeansLayer(8, 3, 16, 8, norm_cfg=dict(type=kind, eps=1e-3)).eval()
    queries = layer(torch.randn(2, 8, 5, 6), torch.randn(2, 16, 4)).queries
    assert queries.shape == (2, 16, 4) and queries.isfinite().all()
    assert {type(module) for module in layer.modules() if 'BatchNorm' in type(module).__name__} == {
        torch.nn.BatchNorm1d, torch.nn.BatchNorm2d}
