"""kMaX-DeepLab's head against published outputs, gradients and statistics."""
import pytest
import torch
from mmdet.structures import DetDataSample

from mmpanseg.checkpoints.kmax_deeplab import convert_kmax_deeplab
from mmpanseg.models.heads.kmax_deeplab import KMaXDeepLabHead
from mmpanseg.models.layers.bilinear_resize import resize
from mmpanseg.structures.segment_map import SegmentMap

NAMES = ['stem', 'res2', 'res3', 'res4', 'res5']
PREFIX = 'panoptic_head.'


def build(settings: dict, **kwargs) -> KMaXDeepLabHead:
    """Head of a fixture; dropout is off, as there."""
    widths = settings['widths']
    semantic = dict(type='mmpanseg.KMaXSemanticHead', channels=widths['aspp_channels'], dropout=0,
                    low_level_channels=(widths['low_level_channels_os8'],
                                        widths['low_level_channels_os4']))
    if not settings['aux_decoder']:
        semantic = dict(type='mmpanseg.KMaXSimpleSemanticHead', channels=widths['aspp_channels'])
    return KMaXDeepLabHead(
        settings['chs'], settings['num_classes'], 0, settings['num_queries'],
        query_channels=widths['query_channels'], channels=widths['head_channels'],
        embed_channels=widths['mask_embedding_channels'],
        pixel_decoder=dict(
            type='mmpanseg.KMaXPixelDecoder', num_blocks=settings['dec_layers'],
            base_channels=settings['dec_channels'], stage_types=settings['layer_types'],
            stem_before_res2=settings['in_features_order'][-2] == 'stem'),
        transformer_decoder=dict(
            type='mmpanseg.KMeansDecoder', num_layers=settings['decoders'],
            base_channels=widths['base_filters'], ffn_channels=widths['ffn_channels']),
        semantic_head=semantic, **kwargs)


def our_names(published: dict) -> dict:
    return {key.removeprefix(PREFIX): value
            for key, value in convert_kmax_deeplab(published).items()}


def error(ours: torch.Tensor, published: torch.Tensor) -> float:
    assert ours.shape == published.shape
    return ((ours - published).abs().max() / published.abs().max().clamp(min=1)).item()


def features(case: dict) -> list[torch.Tensor]:
    return [case['inputs'][name].clone() for name in NAMES if name in case['inputs']]


def full_size(predictions: list) -> list[dict]:
    """Published form: everything at the resolution of the last map."""
    size = predictions[-1].mask_logits.shape[-2:]
    align = size[0] % 2 == 1
    return [dict(pred_logits=prediction.cls_logits,
                 pred_masks=resize(prediction.mask_logits, size, align),
                 pixel_feature=resize(prediction.pixel_embeds, size, align))
            for prediction in predictions]


def load(golden, name: str) -> tuple[dict, KMaXDeepLabHead]:
    case = torch.load(golden / f'kmax_deeplab/{name}.pth', weights_only=True)
    head = build(case['settings'])
    head.load_state_dict(our_names(case['state_dict']))
    return case, head


@pytest.mark.parametrize('name', ['head_end_to_end', 'head_end_to_end_five_stages'])
@torch.no_grad()
def test_matches_the_published_head(golden, name):
    case, head = load(golden, name)
    expected = case['eval']
    queries = []
    for layer in head.transformer_decoder.layers:
        layer.register_forward_hook(lambda _, __, output: queries.append(output.queries))
    predictions = head.eval().decode(features(case))
    assert error(head.semantic_head(features(case)), expected['aux_semantic_pred']) < 2e-4
    for ours, published in zip(queries, expected['queries_after_each_layer']):
        assert error(ours, published) < 2e-4
    published = [*expected['aux_outputs'], expected]
    assert len(predictions) == len(published)
    for ours, theirs in zip(full_size(predictions), published):
        for key in ours.keys() & theirs.keys():
            assert error(ours[key], theirs[key]) < 2e-4, key


@torch.no_grad()
def test_predict_and_forward_give_the_last_prediction(golden):
    case, head = load(golden, 'head_end_to_end')
    head.eval()
    cls_logits, mask_logits = head.predict(features(case))
    assert error(cls_logits, case['eval']['pred_logits']) < 2e-4
    every = torch.arange(cls_logits.shape[1])
    for image in range(2):
        assert error(mask_logits.dense(-1, image, every), case['eval']['pred_masks'][image]) < 2e-4
    all_cls, all_masks = head(features(case))
    assert all_cls.shape[0] == len(all_masks) == 7
    assert torch.equal(all_cls[-1], cls_logits)


def test_gradients_and_statistics_are_the_published_ones(golden):
    case, head = load(golden, 'head_end_to_end')
    train = case['train']
    inputs = [x.requires_grad_() for x in features(case)]
    head.train()
    outputs = full_size(head.decode(inputs))
    semantic = head.semantic_head(inputs)
    published = train['outputs']
    for key in ('pred_logits', 'pred_masks', 'pixel_feature'):
        assert error(outputs[-1][key], published[key]) < 2e-4
    assert error(semantic, published['aux_semantic_pred']) < 2e-4
    for ours, theirs in zip(outputs, published['aux_pred_logits']):
        assert error(ours['pred_logits'], theirs) < 2e-4
    assert error(outputs[-2]['pred_masks'], published['aux_pred_masks_last']) < 2e-4
    loss = semantic.square().mean() + sum(
        output['pred_logits'].square().mean() + output['pred_masks'].square().mean()
        + output['pixel_feature'][:, ::2].mean() for output in outputs)
    loss.backward()
    assert loss.item() == pytest.approx(train['loss'], rel=1e-4)
    for name, x in zip(case['settings']['names'], inputs):
        assert error(x.grad, train['input_grad'][name]) < 1e-3
    parameters = dict(head.named_parameters())
    norms = our_names({key: torch.tensor(value) for key, value in train['param_grad_l2'].items()
                       if 'cluster_centers' not in key})
    assert len(parameters) == len(norms) + 1 == len(train['param_grad_l2'])
    norms['query_feat.weight'] = torch.tensor(
        train['param_grad_l2']['sem_seg_head.predictor._cluster_centers.weight'])
    for name, norm in norms.items():
        assert abs(parameters[name].grad.norm() - norm) / norm.clamp(min=1) < 1e-3, name
    state_dict = head.state_dict()
    for name, value in our_names(train['running_stats_after_one_forward']).items():
        assert error(state_dict[name], value) < 2e-4, name


def small(**kwargs) -> KMaXDeepLabHead:
    """A head of a few channels for 3 thing and 2 stuff classes."""
    options = dict(
        num_queries=6, query_channels=16, channels=16, embed_channels=8,
        pixel_decoder=dict(type='mmpanseg.KMaXPixelDecoder', num_blocks=(1, 1, 1, 1),
                           base_channels=(8, 8, 8, 8)),
        transformer_decoder=dict(type='mmpanseg.KMeansDecoder', num_layers=(1, 1, 1),
                                 base_channels=8, ffn_channels=16),
        semantic_head=dict(type='mmpanseg.KMaXSemanticHead', channels=8,
                           low_level_channels=(4, 4)))
    for key, value in kwargs.items():
        if isinstance(value, dict) and isinstance(options.get(key), dict):
            options[key] = {**options[key], **value}
        else:
            options[key] = value
    return KMaXDeepLabHead([8, 16, 24, 40], 3, 2, **options)


def maps_of(height: int, width: int) -> list[torch.Tensor]:
    return [torch.randn(2, channels, -(-height // stride), -(-width // stride))
            for channels, stride in zip((8, 16, 24, 40), (4, 8, 16, 32))]


@torch.no_grad()
def test_other_sizes_run_and_leave_the_training_size_unchanged():
    torch.manual_seed(0)
    head = small().eval()
    trained_on = maps_of(65, 97)
    first = head.predict(trained_on)
    for size in ((33, 33), (64, 96), (50, 130)):
        inputs = maps_of(*size)
        assert head.predict(inputs)[1].size == inputs[0].shape[-2:]
    again = head.predict(trained_on)
    assert torch.equal(again[0], first[0])
    assert torch.equal(again[1].logits[0], first[1].logits[0])


@pytest.mark.parametrize('interaction, predictions', [
    ('cross-attention', 1), ('dual-path-cross-attention', 1), ('k-means', 4),
    ('dual-path-k-means', 4)])
@torch.no_grad()
def test_interactions_differ_in_one_line(interaction, predictions):
    torch.manual_seed(0)
    head = small(transformer_decoder=dict(interaction=interaction))
    cls_logits, masks = head(maps_of(33, 33))
    assert len(cls_logits) == len(masks) == predictions
    assert cls_logits.shape[1:] == (2, 6, 6)


@torch.no_grad()
def test_what_a_dual_path_changes_reaches_the_later_stages():
    torch.manual_seed(0)
    head = small(transformer_decoder=dict(interaction='dual-path-k-means')).eval()
    inputs = maps_of(33, 33)
    before = head.pixel_decoder(inputs)[0]
    for layer in head.transformer_decoder.layers:
        torch.nn.init.ones_(layer.pixel_out.norm.weight)
    for block in [stage[0] for stage in head.pixel_decoder.stages]:
        torch.nn.init.ones_(block.conv3.norm.weight)
    clustering = head.transformer_decoder.start_clustering(head.queries(2))
    assert not torch.allclose(head.pixel_decoder(inputs, clustering.update)[0], before)


def test_dropped_queries_are_a_new_choice_in_every_iteration_and_none_in_inference():
    torch.manual_seed(0)
    head = small(num_train_queries=3).train()
    drawn = {tuple(head.queries(2)[0, 0].tolist()) for _ in range(10)}
    assert len(drawn) > 1 and all(len(queries) == 3 for queries in drawn)
    table = head.query_feat.weight.T[0].tolist()
    assert all(set(queries) <= set(table) for queries in drawn)
    assert torch.equal(head.eval().queries(2)[1], head.query_feat.weight.T)


def test_the_semantic_head_is_left_out_on_request():
    assert not any('semantic' in key for key in small(semantic_head=None).state_dict())


@torch.no_grad()
def test_the_tensorflow_versions_semantic_head_activates_the_low_level_maps():
    torch.manual_seed(0)
    features = maps_of(33, 33)
    published = small().eval().semantic_head
    activated = small(semantic_head=dict(low_level_act='relu')).eval().semantic_head
    activated.load_state_dict(published.state_dict())
    relu = [x.relu() for x in features[:2]] + features[2:]
    assert torch.equal(activated(features), published(relu))
    assert not torch.equal(activated(features), published(features))


@pytest.mark.parametrize('conv_init, fan', [('pytorch', 8 / 0.88 ** 2), ('tensorflow', 72)])
def test_conv_init_reaches_all_convolutions(conv_init, fan):
    torch.manual_seed(0)
    head = small(conv_init=conv_init)
    head.init_weights()
    for conv in (head.pixel_decoder.stages[3][0].conv2, head.pixel_decoder.stages[2][0].conv2):
        # 3x3 on 8 channels
        assert conv.conv.weight.std().item() == pytest.approx((2 / fan) ** 0.5, rel=0.1)


@pytest.mark.parametrize('kwargs, text', [
    (dict(num_train_queries=7), 'num_train_queries=7 must lie between 1 and num_queries=6'),
    (dict(conv_init='keras'), "conv_init='keras' is unknown"),
    (dict(transformer_decoder=dict(num_layers=(1, 1, 1, 1))),
     'num_layers=.1, 1, 1, 1. has more entries'),
    (dict(semantic_head=dict(low_level_act='swish')), "low_level_act='swish' is unknown"),
])
def test_settings_that_do_not_fit_are_refused(kwargs, text):
    with pytest.raises(ValueError, match=text):
        small(**kwargs)


def samples_of(size: tuple[int, int]) -> list[DetDataSample]:
    torch.manual_seed(1)
    samples = []
    for count in (4, 0):
        sample = DetDataSample(metainfo=dict(batch_input_shape=size))
        sample.gt_segments = SegmentMap(
            torch.randint(0, 5, (count, )),
            map=torch.randint(-1, max(count, 1), size, dtype=torch.int32) - int(count == 0))
        samples.append(sample)
    return samples


@pytest.mark.parametrize('interaction, predictions', [
    ('k-means', 4), ('cross-attention', 1), ('dual-path-k-means', 4),
    ('dual-path-cross-attention', 1)])
@pytest.mark.parametrize('autocast', [False, True])
def test_a_training_step_reaches_every_parameter(interaction, predictions, autocast):
    torch.manual_seed(0)
    head = small(transformer_decoder=dict(interaction=interaction, drop_path=0.2)).train()
    head.init_weights()
    for module in head.modules():  # a scale of zero would set gradients to zero
        if getattr(module, 'weight', None) is not None and not module.weight.any():
            torch.nn.init.constant_(module.weight, 0.5)
    with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
        losses = head.loss(maps_of(33, 65), samples_of((33, 65)))
    assert len(losses) == 4 * predictions + 1
    sum(losses.values()).backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_published_names_cover_every_parameter(golden):
    """A converted state dict has no unexpected and no missing tensor."""
    for name in ('head_end_to_end', 'head_end_to_end_five_stages'):
        case = torch.load(golden / f'kmax_deeplab/{name}.pth', weights_only=True)
        assert our_names(case['state_dict']).keys() == build(case['settings']).state_dict().keys()


# millions of parameters without the auxiliary head, ResNet-50's 23.508 included
TOTALS = {'cross-attention': 55.34, 'dual-path-cross-attention': 57.39, 'k-means': 56.58,
          'dual-path-k-means': 58.83, (1, 1, 1): 50.79, (3, 3, 3): 62.37}


@pytest.mark.parametrize('variant', TOTALS)
def test_parameters_of_the_ablations(variant):
    decoder = dict(type='mmpanseg.KMeansDecoder')
    decoder['num_layers' if isinstance(variant, tuple) else 'interaction'] = variant
    with torch.device('meta'):
        head = KMaXDeepLabHead([256, 512, 1024, 2048], 80, 53, transformer_decoder=decoder)
    count = {name: sum(p.numel() for p in module.parameters())
             for name, module in (('all', head), ('auxiliary', head.semantic_head))}
    assert count['auxiliary'] == 15856742
    assert (count['all'] - count['auxiliary'] + 23508032) / 1e6 == pytest.approx(
        TOTALS[variant], abs=0.006)
