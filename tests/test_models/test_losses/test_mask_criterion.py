"""The criterion against the published matcher and losses, at the published random points."""
import pytest
import torch

from mmpanseg.models.losses.mask_criterion import MaskCriterion, PointSampler
from mmpanseg.models.task_modules.bipartite_matching import MatchInputs
from mmpanseg.structures.mask_logits import DenseMaskLogits, ProductMaskLogits
from mmpanseg.structures.segment_map import SegmentBatch, SegmentMap

SCENARIOS = ['mixed', 'all_images_empty', 'more_targets_than_queries']


class GivenPoints:
    """Hands out fixed points in the order in which the criterion asks."""

    def __init__(self, uniform, uncertain):
        self.points = uniform
        self.pairs = uncertain

    def uniform(self, sets, device, dtype):
        return self.points

    def uncertain(self, logits):
        points, self.pairs = self.pairs[:len(logits)], self.pairs[len(logits):]
        return points


@pytest.fixture(scope='module')
def scenarios(golden):
    return torch.load(golden / 'mask2former/matcher_and_losses.pth', weights_only=True)


def segments(data):
    return SegmentBatch(
        [SegmentMap(t['labels'], masks=t['masks']) for t in data['targets']],
        data['settings']['gt_size'])


def as_map(segment_map):
    """The same ground truth as an index map; only for masks that do not overlap."""
    index = torch.full(segment_map.shape, -1, dtype=torch.int32)
    for i, mask in enumerate(segment_map.masks):
        assert not (index[mask] >= 0).any()
        index[mask] = i
    return SegmentMap(segment_map.labels, map=index)


def logits(layer, form):
    masks = layer['pred_masks'].clone().requires_grad_()
    if form == 'dense':
        return masks, DenseMaskLogits([masks])
    # embeddings that pick one channel each: the product is the mask itself
    eye = torch.eye(masks.shape[1]).expand(1, len(masks), -1, -1)
    return masks, ProductMaskLogits(eye, masks)


@pytest.mark.parametrize('form', ['dense', 'product'])
@pytest.mark.parametrize('name', SCENARIOS)
def test_criterion_matches_published(scenarios, name, form):
    data = scenarios[name]
    settings = data['settings']
    criterion = MaskCriterion(settings['num_classes'])
    total = 0
    for layer in data['layers'].values():
        matching = layer['matching']
        points = [m['point_coords'] for m in matching]
        criterion.sampler = GivenPoints(torch.cat(points), layer['loss_point_coords'])
        cls_logits = layer['pred_logits'].clone().requires_grad_()
        masks, mask_logits = logits(layer, form)
        matches = criterion.match(cls_logits[None], mask_logits, segments(data))
        for image, expected in enumerate(matching):
            of_image = matches.rows.image == image
            order = expected['pred_indices'].argsort()
            assert torch.equal(matches.rows.query[of_image], expected['pred_indices'][order])
            assert torch.equal(matches.segment[of_image], expected['gt_indices'][order])
        losses = criterion(cls_logits[None], mask_logits, segments(data))
        for ours, theirs, weight in (('loss_cls', 'loss_ce', 2), ('loss_mask', 'loss_mask', 5),
                                     ('loss_dice', 'loss_dice', 5)):
            torch.testing.assert_close(
                losses[ours], layer['losses'][theirs] * weight, atol=1e-4, rtol=1e-5)
        layer_total = sum(losses.values())
        layer_total.backward()
        total += layer_total.detach()
        torch.testing.assert_close(
            cls_logits.grad, layer['grad_pred_logits'], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(masks.grad, layer['grad_pred_masks'], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(total, data['total_weighted_loss'], atol=1e-4, rtol=1e-5)


def test_costs_match_published(scenarios):
    data = scenarios['mixed']
    criterion = MaskCriterion(data['settings']['num_classes'])
    batch = segments(data)
    layer = data['layers']['final']
    for image, expected in enumerate(layer['matching']):
        if not len(expected['gt_indices']):
            continue
        points = expected['point_coords'].expand(len(batch), -1, -1)
        targets = batch.sample_all(points)[image:image + 1]
        sampled = DenseMaskLogits([layer['pred_masks']]).sample(0, points)[image:image + 1]
        torch.testing.assert_close(sampled[0], expected['sampled_pred_logits'])
        count = batch.counts[image]
        torch.testing.assert_close(
            targets[0, :, :count].T, expected['sampled_gt'], atol=1e-5, rtol=0)
        inputs = MatchInputs(layer['pred_logits'][image:image + 1],
                             batch.labels[image][None], sampled, targets[..., :count])
        names = ('cost_class', 'cost_mask', 'cost_dice')
        for cost, name in zip(criterion.match_costs, names):
            torch.testing.assert_close(cost.cost(inputs)[0], expected[name], atol=1e-5, rtol=1e-5)


def test_uncertain_points_match_published(scenarios, monkeypatch):
    data = scenarios['uncertainty_sampling']
    draws = iter([data['first_random_draw'], data['second_random_draw']])
    monkeypatch.setattr(torch, 'rand', lambda *args, **kwargs: next(draws))
    sampler = PointSampler(
        data['num_points'], data['oversample_ratio'], data['importance_sample_ratio'])
    points = sampler.uncertain(data['mask_logits'][:, 0])
    kept = sampler.num_uncertain
    assert torch.equal(points[:, kept:], data['point_coords'][:, kept:])
    # topk leaves the order among the kept ones open; as sets they must agree
    for ours, theirs in zip(points[:, :kept], data['point_coords'][:, :kept]):
        assert {tuple(p) for p in ours.tolist()} == {tuple(p) for p in theirs.tolist()}
