"""MP-Former's head against the published decoder and criterion, and its corner cases."""
import json

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config

from mmpanseg.checkpoints import convert_mp_former
from mmpanseg.models.losses.mask_criterion import MaskCriterion
from mmpanseg.models.transformer_decoders.mask_piloting import PilotedAttentionMasks, Piloting
from mmpanseg.registry import MODELS
from mmpanseg.structures.mask_logits import DenseMaskLogits
from mmpanseg.structures.segment_map import SegmentBatch, SegmentMap

PUBLISHED = dict(budget=None, mask_noise='none', label_noise=0.0, label_flip='any')


def load(golden, name):
    return torch.load(golden / 'mp_former' / f'{name}.pth', weights_only=True)


def build_head(config, type='MPFormerHead', **options):
    unused = dict(type='mmpanseg.MSDeformAttnPixelDecoder', num_layers=0, num_heads=1,
                  norm_cfg=dict(type='GN', num_groups=1))
    return MODELS.build(dict(
        type=f'mmpanseg.{type}', in_channels=[8] * 4, channels=config['hidden_dim'],
        out_channels=config['mask_dim'], num_queries=config['num_queries'],
        num_things_classes=config['num_classes'], num_stuff_classes=0, query_pos='none',
        pixel_decoder=unused, transformer_decoder=dict(
            type='mmpanseg.MaskedAttentionDecoder', num_layers=config['num_layers'],
            num_heads=config['num_heads'], feedforward_channels=config['dim_feedforward']),
        **options)).eval()


def load_state(head, state_dict):
    state = convert_mp_former({f'predictor.{k}': v for k, v in state_dict.items()})
    result = head.load_state_dict(
        {k.removeprefix('panoptic_head.'): v for k, v in state.items()}, strict=False)
    assert all(key.startswith('pixel_decoder.') for key in result.missing_keys)
    return result.unexpected_keys


def head_for(golden, name, **piloting):
    data = load(golden, name)
    weights = load(golden, data.get('state_dict_and_inputs', name).removesuffix('.pth'))
    head = build_head(data['config'], piloting=piloting)
    assert not load_state(head, weights['state_dict'])
    return head, data, weights['inputs']


def as_masks(labels, masks):
    return SegmentMap(labels, masks=masks)


def as_map(labels, masks):
    index = torch.full(masks.shape[-2:], -1, dtype=torch.int32)
    for i, mask in enumerate(masks):
        assert not (index[mask] >= 0).any()
        index[mask] = i
    return SegmentMap(labels, map=index)


def batch(targets, form=as_masks):
    return SegmentBatch([form(t['labels'], t['masks']) for t in targets],
                        targets[0]['masks'].shape[-2:])


def dense(mask_logits):
    return torch.einsum('lbqc,bchw->lbqhw', mask_logits.embeds, mask_logits.features)


def settings_of(case):
    settings = case['settings']
    budget = settings['num_dn'] >= 100
    return dict(PUBLISHED, num_groups=None if budget else settings['num_dn'],
                budget=settings['num_dn'] if budget else None,
                num_layers=None if settings['all_layers'] else 4)


def check_pilots(pilots, mp, num_queries):
    assert pilots.num_groups == mp['num_groups'] and pilots.count == mp['max_num']
    assert pilots.num_piloted == mp['pad_size']
    image, slot = mp['batch_index'], mp['slot_index']
    used = torch.zeros(len(pilots.counts), pilots.num_piloted, dtype=torch.bool)
    used[image, slot] = True
    assert torch.equal(pilots.used.repeat(1, pilots.num_groups), used)
    if 'self_attn_mask' in mp:
        assert torch.equal(pilots.self_attn_mask(num_queries), ~mp['self_attn_mask'])
    matches = pilots.match_own(None, None, [None], None)
    assert matches.rows.splits == [int((image == b).sum()) for b in range(len(used))]
    order = torch.argsort(image, stable=True)  # by image, then group, then segment
    assert torch.equal(matches.rows.image, image[order])
    assert torch.equal(matches.rows.query, slot[order])
    assert torch.equal(matches.segment, mp['target_index'][order])


class RecordedRegions(PilotedAttentionMasks):
    recorded: list = []

    def __call__(self, embeds, layer):
        self.recorded.append(super().__call__(embeds, layer))
        return self.recorded[-1]


@pytest.mark.parametrize('name, case', [
    ('train_forward', 'one_group'), ('train_forward', '3_groups'),
    ('train_forward_variants', 'first_layers_only'),
    ('train_forward_variants', 'one_image_without_gt'),
    ('train_forward_variants', 'num_dn_100'),
    ('train_forward_noised', 'noised')])
def test_training_forward_matches_published(golden, monkeypatch, name, case):
    case_data = load(golden, name)['cases'][case]
    head, data, inputs = head_for(golden, name, **settings_of(case_data))
    head.train()
    mp = case_data['mp']
    pilots = head.piloting(batch(case_data['targets']))
    check_pilots(pilots, mp, data['config']['num_queries'])
    image, slot = mp['batch_index'], mp['slot_index']
    assert torch.equal(pilots.labels[image, slot], mp['true_labels'])
    if case == 'noised':  # the published noise in place of sampled noise
        for i, rows in enumerate(case_data['noise']['mask_rows_per_layer']):
            size = inputs['multi_scale_features'][i % 3].shape[-2:]
            assert torch.equal(pilots.masks([size])[image, slot], ~rows['clean_rows'])
        pilots.labels[image, slot] = mp['fed_labels']
        given = iter([~masks for masks in mp['gt_attn_masks']])
        pilots.masks = lambda sizes: next(given)
    monkeypatch.setattr(RecordedRegions, 'recorded', [])
    monkeypatch.setattr('mmpanseg.models.heads.mp_former.PilotedAttentionMasks', RecordedRegions)
    with torch.no_grad():
        if 'init_queries' in mp:
            torch.testing.assert_close(
                pilots.queries(head.label_embed), mp['init_queries'][:, :pilots.num_piloted])
        found = head.forward_piloted(
            inputs['mask_features'], inputs['multi_scale_features'], pilots)
        if 'layer_queries' in case_data['outputs']:
            given = iter([~masks for masks in mp['gt_attn_masks']])
            decoded = head.decode_piloted(
                inputs['mask_features'], inputs['multi_scale_features'], pilots)
            torch.testing.assert_close(
                torch.stack([prediction.queries for prediction in decoded[1:]]),
                head.transformer_decoder.post_norm(
                    case_data['outputs']['layer_queries']), atol=1e-4, rtol=1e-4)
    for masks, expected in zip(RecordedRegions.recorded, mp['cross_attn_masks']):
        assert torch.equal(masks, ~expected)
    for part, prefix in zip(found, ('match', 'mp'), strict=True):
        masks = dense(part[1])
        checks = {f'{prefix}_logits': part[0], f'{prefix}_masks': masks,
                  f'{prefix}_masks_last': masks[-1]}
        for key in checks.keys() & case_data['outputs'].keys():
            torch.testing.assert_close(
                checks[key], case_data['outputs'][key], atol=1e-4, rtol=1e-4)


def test_masks_of_noiseless_layers_are_published(golden):
    data = load(golden, 'train_forward')
    for case in data['cases'].values():
        pilots = Piloting(7, **settings_of(case))(batch(case['targets']))
        for i, expected in enumerate(case['mp']['gt_attn_masks']):
            size = data['inputs']['multi_scale_features'][i % 3].shape[-2:]
            assert torch.equal(pilots.masks([size]), ~expected)


def test_batch_without_ground_truth_is_mask2former(golden):
    head, data, inputs = head_for(golden, 'train_forward_variants', num_groups=1)
    case = data['cases']['no_gt_in_batch']
    with torch.no_grad():
        found = head.train().forward_piloted(
            inputs['mask_features'], inputs['multi_scale_features'],
            head.piloting(batch(case['targets'])))
    matching, piloted = found
    assert piloted[0].shape[2] == 0
    torch.testing.assert_close(
        matching[0], case['outputs']['match_logits'], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        dense(matching[1]), case['outputs']['match_masks'], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('kind', ['MPFormerHead', 'Mask2FormerHead'])
def test_evaluation_matches_published(golden, kind):
    data = load(golden, 'eval_forward')
    head = build_head(data['config'], kind)
    left_over = load_state(head, load(golden, 'train_forward')['state_dict'])
    assert left_over == ([] if kind == 'MPFormerHead' else ['label_embed.weight'])
    inputs = data['inputs']
    with torch.no_grad():
        found = head.classify(head.decode_queries(
            inputs['mask_features'], inputs['multi_scale_features']), inputs['mask_features'])
    torch.testing.assert_close(found[0], data['outputs']['logits'], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(dense(found[1]), data['outputs']['masks'], atol=1e-4, rtol=1e-4)


def test_evaluation_with_position_code_matches_mask2former(golden):
    data = load(golden, 'eval_forward')
    head = build_head(data['config'])
    load_state(head, load(golden, 'train_forward')['state_dict'])
    expected = data['mask2former_with_query_embed']
    head.query_embed = torch.nn.Embedding.from_pretrained(expected['query_embed'])
    inputs = data['inputs']
    with torch.no_grad():
        found = head.classify(head.decode_queries(
            inputs['mask_features'], inputs['multi_scale_features']), inputs['mask_features'])
    torch.testing.assert_close(found[0][-1], expected['logits_last'], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(dense(found[1])[-1], expected['masks_last'], atol=1e-4, rtol=1e-4)


def test_group_layouts_match_published(golden):
    for layout in load(golden, 'group_layout')['layouts']:
        segments = SegmentBatch([
            SegmentMap(torch.zeros(n, dtype=torch.long), masks=torch.ones(n, 8, 8).bool())
            for n in layout['gt_counts']], (8, 8))
        num_dn = layout['num_dn']
        pilots = Piloting(7, **dict(PUBLISHED, **(
            dict(budget=num_dn) if num_dn >= 100 else dict(num_groups=num_dn))))(segments)
        assert (pilots.num_piloted > 0) == layout['has_mp_part']
        if layout['has_mp_part']:
            check_pilots(pilots, layout, layout['num_queries'])


class GivenPoints:
    """Return fixed points in the order of the criterion's calls."""

    def __init__(self, uniform=(), uncertain=()):
        self.uniform_points = list(uniform)
        self.points = uncertain

    def uniform(self, sets, device, dtype):
        return self.uniform_points.pop(0)

    def uncertain(self, logits):
        points, self.points = self.points[:len(logits)], self.points[len(logits):]
        return points


def by_image(per_layer, counts):
    """Points of each layer's rows (by image) in the order image, then layer."""
    parts = [points.split(counts) for points in per_layer]
    return torch.cat([layer[b] for b in range(len(counts)) for layer in parts])


@pytest.mark.parametrize('name, form', [
    ('one_group', as_masks), ('one_group', as_map), ('two_groups', as_masks),
    ('image_without_gt', as_masks), ('no_gt_in_batch', as_masks), ('no_gt_in_batch', as_map)])
def test_losses_match_published(golden, name, form):
    case = load(golden, 'mp_losses')['cases'][name]
    config, mp, matching = case['config'], case['mp'], case['matching']
    segments = batch(case['targets'], form)
    criterion = MaskCriterion(config['num_classes'])
    num_masks = criterion.num_masks(segments)
    assert num_masks == case['num_masks']
    counts = segments.counts
    criterion.sampler = GivenPoints(
        [torch.cat(points) for points in matching['matcher_point_coords']],
        by_image(matching['loss_point_coords'], counts))
    losses = criterion(matching['pred_logits'], DenseMaskLogits(list(matching['pred_masks'])),
                       segments, num_masks)
    pilots = Piloting(7, **dict(PUBLISHED, num_groups=max(config['num_groups'], 1)))(segments)
    if mp is None:
        predictions = torch.zeros(4, 2, 0, 8), torch.zeros(4, 2, 0, 24, 16)
    else:
        predictions = mp['pred_logits'], mp['pred_masks']
        criterion.sampler = GivenPoints(uncertain=by_image(
            mp['point_coords'], [n * pilots.num_groups for n in counts]))
        assert num_masks * pilots.num_groups == mp['normaliser']
    found = criterion(
        predictions[0], DenseMaskLogits(list(predictions[1])), segments,
        num_masks * pilots.num_groups, lambda *args: pilots.match(criterion, *args))
    losses.update({f'{key}_mp': value for key, value in found.items()})
    theirs = {'ce': 'cls', 'mask': 'mask', 'dice': 'dice'}
    expected = {}
    for key, value in case['losses'].items():
        kind, *rest = key.removeprefix('loss_').split('_')
        mp_part = '_mp' if 'dn' in rest else ''
        layer = f'd{rest[-1]}.' if rest and rest[-1].isdigit() else ''
        expected[f'{layer}loss_{theirs[kind]}{mp_part}'] = value * case['weights'][key]
    assert losses.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(
            losses[key], torch.as_tensor(value), atol=5e-5, rtol=1e-5, msg=key)
    total = sum(losses.values())
    torch.testing.assert_close(total.item(), case['weighted_total'], atol=1e-3, rtol=1e-5)
    total_mp = sum(v for k, v in losses.items() if k.endswith('_mp'))
    torch.testing.assert_close(float(total_mp), case['weighted_total_mp'], atol=1e-3, rtol=1e-5)


SIZE = (64, 96)


def sample(labels, cells):
    index = torch.tensor(cells, dtype=torch.int32).repeat_interleave(32, 0).repeat_interleave(32, 1)
    return DetDataSample(
        metainfo=dict(batch_input_shape=SIZE, img_shape=SIZE, ori_shape=SIZE),
        gt_segments=SegmentMap(torch.tensor(labels, dtype=torch.long), map=index))


VOID = sample([], [[-1] * 3] * 2)
NORMAL = sample([0, 0, 3], [[0, 0, 1], [2, 2, -1]])
CROWDED = sample(list(range(4)) * 2, [[0, 1, 2], [3, 4, 5]])


@pytest.fixture(scope='module')
def model_config():
    return dict(
        type='mmpanseg.MaskTransformer', num_things_classes=2, num_stuff_classes=2,
        backbone=dict(type='mmdet.ResNet', depth=18, base_channels=8, num_stages=4,
                      out_indices=(0, 1, 2, 3), style='pytorch'),
        panoptic_head=dict(
            type='mmpanseg.MPFormerHead', in_channels=[8, 16, 32, 64], channels=32,
            out_channels=32, num_queries=6,
            pixel_decoder=dict(type='mmpanseg.MSDeformAttnPixelDecoder', num_layers=1,
                               num_heads=4, feedforward_channels=32),
            transformer_decoder=dict(type='mmpanseg.MaskedAttentionDecoder', num_layers=4,
                                     num_heads=4, feedforward_channels=32),
            criterion=dict(type='mmpanseg.MaskCriterion', num_points=32)))


def build_model(model_config, head=(), **piloting):
    torch.manual_seed(0)
    config = dict(model_config, panoptic_head=dict(
        model_config['panoptic_head'], piloting=piloting, **dict(head)))
    return MODELS.build(config)


OPTIONS = [
    dict(), dict(num_groups=2), dict(num_groups=1, budget=None), dict(num_layers=1),
    dict(num_layers=3), dict(mask_noise='cell', label_flip='any'), dict(mask_noise='shift'),
    dict(mask_noise='scale'), dict(mask_noise='none'), dict(noise_ratio=0), dict(budget=3),
    dict(assignment='matching'), dict(assignment='matching', num_groups=2, budget=4)]


@pytest.mark.parametrize('piloting', OPTIONS, ids=str)
@pytest.mark.parametrize('samples', [
    [NORMAL, NORMAL], [VOID, NORMAL], [VOID, VOID], [CROWDED, NORMAL]],
    ids=['normal', 'one void', 'void', 'crowded'])
def test_losses_are_finite_and_reach_every_parameter(model_config, piloting, samples):
    model = build_model(model_config, **piloting)
    losses = model.loss(torch.randn(2, 3, *SIZE), samples)
    total = sum(losses.values())
    total.backward()
    assert torch.isfinite(total)
    nothing = all(s is VOID for s in samples)
    for name, value in losses.items():
        zero = nothing and ('loss_cls' not in name or name.endswith('_mp'))
        assert (value == 0) == zero, name
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize('head', [
    dict(multi_scale='naive'), dict(query_feat='zero'), dict(query_feat='unsupervised'),
    dict(transformer_decoder=dict(
        type='mmpanseg.MaskedAttentionDecoder', num_layers=2, num_heads=4, pre_norm=True,
        feedforward_channels=32, cross_attention='mask_pooling', order=('self', 'cross', 'ffn'))),
    dict(criterion=dict(type='mmpanseg.MaskCriterion', match_on='masks', loss_on='masks'))])
def test_pilots_work_with_options_of_mask2former(model_config, head):
    losses = build_model(model_config, head).loss(torch.randn(2, 3, *SIZE), [NORMAL, CROWDED])
    assert torch.isfinite(sum(losses.values()))
    assert len(losses) % 6 == 0 and sum(name.endswith('_mp') for name in losses) * 2 == len(losses)


def test_matching_part_is_not_touched_by_pilots(model_config):
    head = build_model(model_config).panoptic_head.eval()
    features = [torch.randn(2, c, 16 >> i, 24 >> i) for i, c in enumerate((8, 16, 32, 64))]
    truth = SegmentBatch([NORMAL.gt_segments, CROWDED.gt_segments], SIZE)
    with torch.no_grad():
        found = head.forward_piloted(*head.decode_pixels(features), head.piloting(truth))[0]
        expected = head(features)
    torch.testing.assert_close(found[0], expected[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[1].embeds, expected[1].embeds, atol=1e-5, rtol=1e-5)


def test_crowded_image_is_piloted_by_a_random_subset_and_said_once(monkeypatch):
    truth = SegmentBatch([CROWDED.gt_segments, NORMAL.gt_segments], SIZE)
    piloting = Piloting(4, budget=5, mask_noise='none', label_noise=0.0)
    told = []
    monkeypatch.setattr(
        'mmpanseg.models.transformer_decoders.mask_piloting.print_log',
        lambda text, logger: told.append(text))
    many = [piloting(truth) for _ in range(40)]
    assert len(told) == 1 and '8 segments' in told[0] and 'budget of 5' in told[0]
    clean = truth.max_pool((2, 3))
    seen = set()
    for pilots in many:
        assert (pilots.num_groups, pilots.count, pilots.counts) == (1, 5, [5, 3])
        subset = pilots.chosen[0]
        assert len(set(subset.tolist())) == 5
        seen.update(subset.tolist())
        assert torch.equal(pilots.labels[0], CROWDED.gt_segments.labels[subset])
        masks = pilots.masks([(2, 3)])
        assert torch.equal(masks[0], clean[0, subset])
        assert torch.equal(masks[1, :3], clean[1, :3]) and not masks[1, 3:].any()
        matches = pilots.match_own(None, None, [None] * 2, None)
        assert matches.segment[matches.rows.image == 0].tolist() == subset.tolist() * 2
    assert seen == set(range(8))


def test_matching_assigns_within_groups(model_config):
    head = build_model(model_config, assignment='matching', num_groups=2).panoptic_head
    truth = SegmentBatch([NORMAL.gt_segments, VOID.gt_segments, CROWDED.gt_segments], SIZE)
    pilots = head.piloting(truth)
    cls_logits = torch.randn(2, 3, pilots.num_piloted, 5)
    masks = DenseMaskLogits(list(torch.randn(2, 3, pilots.num_piloted, 8, 12)))
    criterion = head.criterion
    uniform = torch.rand(3, 50, 2)
    criterion.sampler = GivenPoints([uniform] * 4)
    matches = pilots.match(criterion, cls_logits, masks, truth)
    rows = matches.rows
    assert rows.splits == [2 * 2 * 3, 0, 2 * 2 * 8]
    for group in range(2):
        part = slice(8 * group, 8 * group + 8)
        criterion.sampler = GivenPoints([uniform] * 2)
        alone = criterion.match(
            cls_logits[:, :, part], DenseMaskLogits([x[:, part] for x in masks.logits]), truth)
        mine = (rows.query >= part.start) & (rows.query < part.stop)
        assert pairs(matches, mine, part.start) == pairs(alone)


def pairs(matches, chosen=slice(None), first=0):
    rows = matches.rows
    columns = torch.stack([rows.layer, rows.image, rows.query - first, matches.segment], 1)
    return sorted(columns[chosen].tolist())


@pytest.mark.parametrize('settings, text', [
    (dict(num_groups=None, budget=None), 'num_groups, budget'), (dict(budget=0), 'budget=0'),
    (dict(num_groups=5, budget=4), 'budget=4'), (dict(num_groups=0), 'num_groups=0'),
    (dict(noise_ratio=1.5), 'noise_ratio'), (dict(mask_noise='salt'), 'mask_noise=.*shift'),
    (dict(label_flip='x'), 'label_flip'), (dict(assignment='soft'), 'assignment=.*hard')])
def test_impossible_settings(settings, text):
    with pytest.raises(ValueError, match=text):
        Piloting(4, **settings)


@pytest.mark.parametrize('task, things, stuff', [('panoptic', 80, 53), ('instance', 80, 0)])
def test_published_models_load(golden, repo_root, task, things, stuff):
    manifest = json.loads((golden / f'mp_former/manifest_r50_coco_{task}.json').read_text())
    config = Config.fromfile(
        repo_root / 'configs/mp_former/mp_former_r50_released-code_8xb2-lsj-12e_coco-panoptic.py')
    config.model.backbone.init_cfg = None
    config.model.update(num_things_classes=things, num_stuff_classes=stuff)
    with torch.device('meta'):
        model = MODELS.build(config.model)
    state = {name: torch.empty(shape, device='meta')
             for kind in ('parameters', 'buffers') for name, shape in manifest[kind].items()}
    result = model.load_state_dict(convert_mp_former(state), strict=False, assign=True)
    assert not result.unexpected_keys
    assert all(name.endswith('num_batches_tracked') for name in result.missing_keys)
    # published models store the constants of frozen batch norms as buffers
    count = sum(p.numel() for name, p in model.named_parameters()
                if not ('backbone' in name and ('bn' in name or 'downsample.1' in name)))
    assert count == manifest['total_parameters']
    unused = model.panoptic_head.label_embed.weight.numel()
    assert count - unused == manifest['parameters_in_use_at_inference']
    assert len(manifest['loss_weights']) == 60
    config.model.panoptic_head.type = 'mmpanseg.Mask2FormerHead'
    del config.model.panoptic_head.piloting
    with torch.device('meta'):
        plain = MODELS.build(config.model)
    assert plain.load_state_dict(convert_mp_former(state), strict=False, assign=True) \
        .unexpected_keys == ['panoptic_head.label_embed.weight']
