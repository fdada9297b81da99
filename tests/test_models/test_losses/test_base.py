"""Base of the criteria: class weights against mmdet's losses, normalizers, names of losses."""
import pytest
import torch
from mmdet.models.losses import CrossEntropyLoss
from mmdet.models.losses.focal_loss import py_sigmoid_focal_loss

from mmpanseg.models.losses import (
    KMaXCriterion,
    MaskCriterion,
    PanopticSegFormerCriterion,
    base,
    mask_criterion,
)
from mmpanseg.models.losses.base import PanopticCriterion
from mmpanseg.models.losses.kmax_losses import focal_cross_entropy
from mmpanseg.models.losses.panoptic_segformer_targets import read_targets
from mmpanseg.models.task_modules.bipartite_matching import Matches
from mmpanseg.structures.attention_masks import AttentionMasks
from mmpanseg.structures.mask_logits import MaskRows
from mmpanseg.structures.segment_map import SegmentBatch, SegmentMap

WEIGHTS = [0.5, 2.0, 0.0, 3.0]


@pytest.fixture
def matched():
    """Class logits of two layers, pairs of two images, and the labels of all queries."""
    torch.manual_seed(0)
    cls_logits = torch.randn(2, 2, 5, 5, requires_grad=True)
    index = torch.zeros(4, 4, dtype=torch.int32)
    segments = SegmentBatch([SegmentMap(torch.tensor(labels), map=index)
                             for labels in ([3, 0, 1], [2, 1])], (4, 4))
    pairs = torch.tensor([  # layer, image, query, segment
        [0, 0, 0, 0], [0, 0, 2, 2], [0, 0, 4, 1], [1, 0, 1, 0], [1, 0, 2, 1], [1, 0, 3, 2],
        [0, 1, 1, 0], [0, 1, 3, 1], [1, 1, 0, 1], [1, 1, 4, 0]]).T
    target = torch.full((2, 2, 5), 4)
    for layer, image, query, segment in pairs.T.tolist():
        target[layer, image, query] = segments.labels[image][segment]
    return cls_logits, Matches(MaskRows(*pairs[:3], [6, 4]), pairs[3]), segments, target


@pytest.mark.parametrize('given, used', [
    (None, [1, 1, 1, 1, 0.1]), (WEIGHTS, WEIGHTS + [0.1]), (WEIGHTS + [0.7], WEIGHTS + [0.7])])
def test_softmax_is_mmdets(matched, given, used):
    cls_logits, matches, segments, target = matched
    ours = MaskCriterion(4, class_weight=given).loss_cls(cls_logits, matches, segments)
    mmdets = CrossEntropyLoss(class_weight=used, loss_weight=2.0)
    used = torch.tensor(used)
    # as mmdet's Mask2FormerHead does for one layer
    theirs = torch.stack([mmdets(logits.flatten(0, 1), labels.flatten(), torch.ones(10),
                                 avg_factor=used[labels].sum())
                          for logits, labels in zip(cls_logits, target)])
    torch.testing.assert_close(ours, theirs)
    for a, b in zip(*(torch.autograd.grad(x.sum(), cls_logits) for x in (ours, theirs))):
        torch.testing.assert_close(a, b)


def test_kmax_multiplies_every_term(matched):
    cls_logits, _, _, target = matched
    share = torch.rand(2, 5) + 0.1
    weights = torch.tensor(WEIGHTS + [1.0])
    loss = focal_cross_entropy(cls_logits[0], target[0], share, 0.75, 1.0, weights)
    images = []
    for logits, labels, of_query in zip(cls_logits[0], target[0], share):
        terms = []
        for row, label, weight in zip(logits, labels, of_query):
            p = row.softmax(0)[label]
            alpha = 0.25 if label == 4 else 0.75
            terms.append(-p.log() * (1 - p) * alpha * weight * weights[label])
        terms = torch.stack(terms)
        images.append(terms.sum() / (terms != 0).sum())
    torch.testing.assert_close(loss, torch.stack(images).mean())
    criterion = KMaXCriterion(4, class_weight=WEIGHTS)
    assert criterion.class_weight.tolist() == WEIGHTS + [1.0]
    assert not criterion.state_dict()


def squares(labels):
    index = torch.full((16, 16), -1, dtype=torch.int32)
    for i in range(len(labels)):
        index[4 * i:4 * i + 4, 2:9] = i
    return SegmentMap(torch.tensor(labels), map=index)


def test_focal_loss_of_location_queries_is_mmdets():
    """Both stages and stuff; classes 0 and 1 have location queries, 2 and 3 stuff queries."""
    torch.manual_seed(0)
    targets = read_targets([squares([1, 3, 0])],
                           [dict(img_shape=(16, 16), batch_input_shape=(16, 16))], 2, 'box')
    criterion = PanopticSegFormerCriterion(2, 2, class_weight=WEIGHTS)
    plain = PanopticSegFormerCriterion(2, 2)
    cls_logits, locations = torch.randn(2, 1, 6, 2), torch.rand(2, 1, 6, 4)
    one = torch.ones(1)
    losses, _ = criterion.location_stage(cls_logits, locations, targets, one)
    matches, _ = plain.match_locations(cls_logits, locations, targets)
    for layer, name in enumerate(('d0.loss_cls', 'loss_cls')):
        target = torch.zeros(6, 2)
        here = matches.rows.layer == layer
        target[matches.rows.query[here], targets.labels[0, matches.segment[here]]] = 1
        theirs = py_sigmoid_focal_loss(cls_logits[layer, 0], target, torch.tensor(
            [WEIGHTS[:2]] * 6), reduction='sum')
        torch.testing.assert_close(losses[name], 2 * theirs)

    def masks_of(queries):
        def generator(logits, sizes):
            return logits.sigmoid().mean(1).view(-1, *sizes[0])
        return AttentionMasks(torch.randn(1, 1, queries, 3), torch.randn(1, 1, 16, 3), generator,
                              ((4, 4), ))

    stuff_logits = torch.randn(2, 1, 2)
    losses = criterion.stuff_stage([masks_of(2)] * 2, stuff_logits, targets, one)
    for layer in range(2):
        theirs = py_sigmoid_focal_loss(
            stuff_logits[layer, 0][:, None], torch.tensor([[0.], [1.]]),
            torch.tensor(WEIGHTS[2:]), reduction='sum')
        torch.testing.assert_close(losses[f'd{layer}.loss_cls_stuff_f'], 4 * theirs)


@pytest.mark.parametrize('build', [
    lambda weights: MaskCriterion(4, class_weight=weights),
    lambda weights: KMaXCriterion(4, class_weight=weights),
    lambda weights: PanopticSegFormerCriterion(3, 1, class_weight=weights)])
def test_wrong_weights_are_refused(build):
    with pytest.raises(ValueError, match='class_weight has 3 numbers, but the model has 4 classes'):
        build([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match='class_weight has 6 numbers'):
        build([1.0] * 6)
    with pytest.raises(ValueError, match='must not contain negative or infinite'):
        build([1.0, -2.0, 3.0, 1.0])
    with pytest.raises(TypeError, match='class_weight must be a list of numbers'):
        build(2.0)
    with pytest.raises(TypeError, match='class_weight must be a list of numbers'):
        build(['1', '2', '1', '1'])


def test_sigmoid_has_no_weight_for_no_object():
    with pytest.raises(ValueError, match='5 numbers, but the model has 4 classes: it needs one '
                                         'for each$'):
        PanopticSegFormerCriterion(4, class_weight=[1.0] * 5)


def test_weights_of_one_change_nothing(matched):
    cls_logits, matches, segments, _ = matched
    ours, plain = (MaskCriterion(4, class_weight=weights).loss_cls(cls_logits, matches, segments)
                   for weights in ([1] * 4, None))
    assert torch.equal(ours, plain)
    logits, labels = torch.randn(2, 6, 5), torch.randint(5, (2, 6))
    ours, plain = (focal_cross_entropy(logits, labels, torch.ones(2, 6), class_weight=weights)
                   for weights in (torch.ones(5), None))
    assert torch.equal(ours, plain)


def test_normalizers_are_means_over_ranks(monkeypatch):
    """Two ranks, of which the other one has 8 segments; without segments anywhere: 1."""
    monkeypatch.setattr(base, 'reduce_mean', lambda counts: (counts + torch.tensor(8.0)) / 2)
    masks = torch.zeros(3, 4, 4, dtype=torch.bool)
    segments = SegmentBatch([SegmentMap(torch.tensor([0, 1, 2]), masks=masks)], (4, 4))
    assert MaskCriterion(4).num_masks(segments) == (3 + 8) / 2
    monkeypatch.setattr(base, 'reduce_mean', lambda counts: counts)
    empty = SegmentBatch([SegmentMap(torch.zeros(0).long(), masks=masks[:0])], (4, 4))
    assert MaskCriterion(4).num_masks(empty) == 1


def test_class_loss_over_all_processes(matched, monkeypatch):
    """The other rank has class weights of 8; one process computes the same with and without."""
    cls_logits, matches, segments, target = matched
    own, synced = (MaskCriterion(4, sync_cls_avg_factor=sync) for sync in (False, True))
    alone = own.loss_cls(cls_logits, matches, segments)
    assert torch.equal(synced.loss_cls(cls_logits, matches, segments), alone)
    weight = torch.tensor([1.0] * 4 + [0.1])[target].flatten(1).sum(1)
    monkeypatch.setattr(mask_criterion, 'reduce_mean', lambda sums: (sums + 8.0) / 2)
    assert torch.equal(own.loss_cls(cls_logits, matches, segments), alone)
    torch.testing.assert_close(synced.loss_cls(cls_logits, matches, segments),
                               alone * weight / ((weight + 8) / 2))


def test_losses_are_named_by_layer():
    named = PanopticCriterion.name_by_layer({'loss_cls': torch.tensor([3.0, 2.0, 1.0])})
    assert named == {'d0.loss_cls': 3, 'd1.loss_cls': 2, 'loss_cls': 1}
