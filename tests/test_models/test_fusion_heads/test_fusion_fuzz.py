"""Fusion rules on generated predictions against the rules written out plainly.

Logits have few different values, so that queries tie. Images are as small as one pixel, have no
query above a threshold, or no query at all. Queries that are not finite must have no effect.
"""
import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from mmpanseg.models.fusion_heads import (
    HeuristicFusionHead,
    KMaXFusionHead,
    MaskWiseFusionHead,
    PixelwiseFusionHead,
)
from mmpanseg.models.inference.test_cfg import OutputOptions
from mmpanseg.structures.mask_logits import DenseMaskLogits, ProductMaskLogits

from ...fuzz import cases

THINGS, CLASSES = 2, 4
HEADS = dict(pixelwise=PixelwiseFusionHead, mask_wise=MaskWiseFusionHead,
             heuristic=HeuristicFusionHead, kmax=KMaXFusionHead)
SHARES = st.sampled_from([0.0, 0.3, 0.5, 0.8, 1.0])
# smallest difference of confidences that rounding does not turn around
GAP = 1e-5


def choose(draw, shape: tuple, values: list[float]) -> torch.Tensor:
    """A tensor of chosen values; repeated rows and columns are as likely as different ones."""
    index = draw(st.lists(st.integers(0, len(values) - 1), min_size=math.prod(shape),
                          max_size=math.prod(shape)))
    return torch.tensor(values)[torch.tensor(index, dtype=torch.long)].view(shape)


@st.composite
def predictions(draw, mask_values: list[float], classes: int = CLASSES + 1, least: int = 0):
    """Class logits [Q, K + 1] and mask logits [Q, h, w]; some queries are copies of others."""
    queries = draw(st.integers(least, 5))
    size = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    scores = choose(draw, (queries, classes), [-4.0, 0.0, 1.0, 3.0])
    masks = choose(draw, (queries, *size), mask_values)
    if queries > 1 and draw(st.booleans()):
        masks[-1] = masks[0]
        if draw(st.booleans()):
            scores[-1] = scores[0]
    return scores, masks


def predict(head, scores: torch.Tensor, masks, size: tuple, ori_shape: tuple | None = None,
            **outputs) -> dict:
    meta = dict(batch_input_shape=size, img_shape=size, ori_shape=ori_shape or size)
    result, = head.predict(scores[None], masks, [meta], outputs=OutputOptions(**outputs))
    return result


class Plain:
    """The panoptic map of a rule, painted segment by segment."""

    def __init__(self, size: tuple) -> None:
        self.map = torch.full(size, CLASSES)
        self.segments: list[tuple] = []
        self._instances = 0

    def add(self, label: int, query: int, mask: torch.Tensor) -> None:
        if label < THINGS:
            self._instances += 1
            self.map[mask] = label + 1000 * self._instances
        else:
            self.map[mask] = label
        if label < THINGS or all(other != label for other, _ in self.segments):
            self.segments.append((label, query))

    def check(self, found) -> None:
        assert torch.equal(found.sem_seg[0].long(), self.map)
        assert [(s['label'], s['query']) for s in found.segments_info] == self.segments


@cases(80)
@given(predictions([-3.0, 0.0, 0.5, 2.0]), SHARES, SHARES, st.booleans(), st.booleans())
def test_pixelwise(case, score_thr, iou_thr, weighted, filter_low_score):
    scores, masks = case
    size = tuple(masks.shape[1:])
    head = PixelwiseFusionHead(THINGS, CLASSES - THINGS, score_thr, iou_thr, weighted,
                               filter_low_score)
    found = predict(head, scores, DenseMaskLogits([masks[None]]), size)['pred_panoptic_seg']
    best, labels = scores.softmax(-1).max(-1)
    kept = [q for q in range(len(scores)) if labels[q] < CLASSES and best[q] > score_thr]
    plain = Plain(size)
    if kept:
        probs = masks[kept].sigmoid()
        weights = best[kept] if weighted else torch.ones(len(kept))
        product = weights[:, None, None] * probs
        # the first one of equal ones, which argmax does not promise
        winner = (product == product.amax(0)).int().argmax(0)
        for k, query in enumerate(kept):
            won, own = winner == k, probs[k] >= 0.5
            painted = won & own if filter_low_score else won
            own_area = own.sum() if filter_low_score else own.sum().clamp(min=1)
            if painted.any() and own_area and won.sum() / own_area >= iou_thr:
                plain.add(int(labels[query]), query, painted)
    plain.check(found)


def in_order(plain: Plain, order: list[int], labels: torch.Tensor, inside: torch.Tensor,
             is_refused) -> None:
    """Masks get their free pixels one after the other; ``is_refused`` judges the free share."""
    taken = torch.zeros(plain.map.shape, dtype=torch.bool)
    for query in order:
        free = inside[query] & ~taken
        if not free.any() or is_refused(query, free.sum() / inside[query].sum()):
            continue
        plain.add(int(labels[query]), query, free)
        taken |= free


@cases(80)
@given(predictions([0.0, 0.25, 0.5, 0.625, 0.75, 1.0], CLASSES),
       st.sampled_from([(1, 2), (1, 0), (0, 1)]), SHARES, SHARES, st.sampled_from([0, 1]))
def test_mask_wise(case, exponents, t_cnf, t_keep, extra_pixels):
    """Mask probabilities are multiples of 1 / 8, so that their sums are exact."""
    scores, masks = case
    size = tuple(masks.shape[1:])
    head = MaskWiseFusionHead(THINGS, CLASSES - THINGS, *exponents, t_cnf, t_keep, extra_pixels,
                              score_activation='sigmoid', mask_activation='none')
    found = predict(head, scores, DenseMaskLogits([masks[None]]), size)['pred_panoptic_seg']
    # a score of 0 for "no object", which is the best one of no query
    best, labels = scores.sigmoid().max(-1) if len(scores) else (scores[:, 0], scores[:, 0].long())
    inside = masks > 0.5
    area = inside.sum((1, 2))
    means = (masks * inside).sum((1, 2)) / (area + extra_pixels).clamp(min=1e-30)
    confidence = best ** exponents[0] * means ** exponents[1] * (means > 0)
    order = [q for q in confidence.argsort(descending=True, stable=True).tolist()
             if confidence[q] >= t_cnf]
    plain = Plain(size)
    in_order(plain, order, labels, inside, lambda _, share: share < torch.tensor(t_keep))
    plain.check(found)


@cases(80)
@given(predictions([-3.0, 0.0, 0.5, 2.0]), SHARES, SHARES, st.sampled_from([1, 3, 9]))
def test_heuristic(case, score_thr, mask_overlap, area_limit):
    scores, masks = case
    size = tuple(masks.shape[1:])
    head = HeuristicFusionHead(THINGS, CLASSES - THINGS, score_thr, mask_overlap, area_limit)
    found = predict(head, scores, DenseMaskLogits([masks[None]]), size)['pred_panoptic_seg']
    best, labels = scores.softmax(-1).max(-1)
    things = [q for q in best.argsort(descending=True, stable=True).tolist()
              if labels[q] < THINGS and best[q] >= score_thr]
    plain = Plain(size)
    in_order(plain, things, labels, masks > 0,
             lambda _, share: share < torch.tensor(1 - mask_overlap))
    stuff = [q for q in range(len(scores)) if THINGS <= labels[q] < CLASSES]
    if stuff:
        product = best[stuff][:, None, None] * masks[stuff].sigmoid()
        winner = (product == product.amax(0)).int().argmax(0)
        won = torch.where(plain.map == CLASSES, labels[stuff][winner], -1)
        for label in range(THINGS, CLASSES):
            of_class = [q for q in stuff if labels[q] == label]
            if of_class and (won == label).sum() >= area_limit and (won == label).any():
                query = max(of_class, key=lambda q: (float(best[q]), -q))
                plain.add(label, query, won == label)
    plain.check(found)


@cases(80)
@given(predictions([-9.0, 0.0, 1.0, 9.0]), SHARES, SHARES, st.sampled_from([0, 1]),
       st.sampled_from([0, 1, 4]))
def test_kmax(case, score_thr, overlap_thr, mask_power, area_limit):
    scores, masks = case
    size = tuple(masks.shape[1:])
    head = KMaXFusionHead(THINGS, CLASSES - THINGS, score_thr, 0.4, overlap_thr,
                          mask_power=mask_power, area_limit=area_limit)
    found = predict(head, scores, DenseMaskLogits([masks[None]]), size)['pred_panoptic_seg']
    best, labels = scores.softmax(-1)[:, :-1].max(-1)
    probs = masks.double().softmax(0)
    assume(not len(masks) or (probs - 0.4).abs().min() > GAP)
    inside = probs > 0.4
    means = (probs * inside).sum((1, 2)) / inside.sum((1, 2)).clamp(min=1)
    confidence = best.double() * means ** mask_power
    order = [q for q in confidence.argsort(descending=True, stable=True).tolist()
             if best[q] > score_thr]
    for first, second in zip(order, order[1:]):  # equal by rounding only is no tie
        same = torch.equal(masks[first], masks[second]) and best[first] == best[second]
        assume(same or confidence[first] - confidence[second] > GAP or (
            not mask_power and best[first] == best[second]))
    # a copy comes after its original
    order.sort(key=lambda q: (-round(float(confidence[q]), 9), q))
    taken, owned = torch.zeros(size, dtype=torch.bool), {}
    for query in order:
        free = inside[query] & ~taken
        if free.any() and free.sum() / inside[query].sum() > torch.tensor(overlap_thr):
            owned[query] = free
            taken |= free
    plain = Plain(size)
    for query, free in owned.items():
        label = int(labels[query])
        area = sum(int(mask.sum()) for other, mask in owned.items()
                   if (other == query if label < THINGS else labels[other] == label))
        if area >= area_limit:
            plain.add(label, query, free)
    # numbers of things count those that are too small, too
    expected, numbers = plain.map, {}
    values = found.sem_seg[0].long()
    assert [(s['label'], s['query']) for s in found.segments_info] == plain.segments
    for value in expected.unique().tolist():
        own = values[expected == value].unique().tolist()
        assert len(own) == 1 and own[0] % 1000 == value % 1000
        assert (own[0] >= 1000) == (value >= 1000)
        numbers[value] = own[0]
    assert len(set(numbers.values())) == len(numbers)


def build(name: str):
    options: dict = dict(mask_wise=dict(t_cnf=0.1), pixelwise=dict(object_mask_thr=0.1, iou_thr=.2),
                         heuristic=dict(score_thr=0.1, stuff_area_limit=1),
                         kmax=dict(score_thr=0.1, overlap_thr=0.2))
    return HEADS[name](THINGS, CLASSES - THINGS, **options[name])


OUTPUTS = dict(instance_on=True, semantic_on=True)


@pytest.mark.parametrize('name', HEADS)
@cases(25)
@given(data=st.data())
def test_every_result_is_consistent(name, data):
    """Resized results, from products too: the map has the listed segments and no others."""
    scores, masks = data.draw(predictions([-3.0, -1.0, 0.0, 2.0], least=1))
    size = tuple(masks.shape[1:])
    ori_shape = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    logits = DenseMaskLogits([masks[None]])
    if data.draw(st.booleans()):
        identity = torch.eye(len(masks))[None, None]
        logits = ProductMaskLogits(identity, masks[None])
    found = predict(build(name), scores, logits, size, ori_shape, **OUTPUTS)
    panoptic, instances = found['pred_panoptic_seg'], found['pred_instances']
    values = set(panoptic.sem_seg.unique().tolist()) - {CLASSES}
    assert panoptic.sem_seg.shape == (1, *ori_shape)
    assert values == {s['id'] for s in panoptic.segments_info}
    for segment in panoptic.segments_info:
        assert segment['id'] % 1000 == segment['label'] < CLASSES
        assert segment['isthing'] == (segment['label'] < THINGS) == (segment['id'] >= 1000)
        assert 0 <= segment['score'] <= 1 and 0 <= segment['query'] < len(scores)
    assert instances.masks.shape[1:] == ori_shape and instances.labels.lt(THINGS).all()
    assert instances.scores.isfinite().all()
    for mask, box in zip(instances.masks, instances.bboxes.tolist()):
        rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
        assert box == ([float(columns[0]), float(rows[0]), float(columns[-1] + 1),
                        float(rows[-1] + 1)] if mask.any() else [0.0] * 4)
    semantic = found['pred_sem_seg'].sem_seg
    assert semantic.shape == (1, *ori_shape) and 0 <= semantic.min() <= semantic.max() < CLASSES


def sure_instances(found: dict) -> list[tuple]:
    """Class, pixels and score of instances; those of dropped queries have a score of 0.

    Sorted, since the order of equal scores depends on the number of queries.
    """
    instances = found['pred_instances']
    return sorted((label, mask.flatten().tolist(), score) for score, label, mask in zip(
        instances.scores.tolist(), instances.labels.tolist(), instances.masks) if score > 0)


def assume_no_near_ties(scores: torch.Tensor, masks: torch.Tensor) -> None:
    """Leave out kMaX's confidences that differ by rounding only, except those of copies.

    Its softmax over queries is rounded in another way with another number of queries.
    """
    best = scores.softmax(-1)[:, :-1].amax(-1).double()
    probs = masks.double().softmax(0)
    inside = probs > 0.4
    confidence = best * (probs * inside).sum((1, 2)) / inside.sum((1, 2)).clamp(min=1)
    assume((probs - 0.4).abs().min() > GAP)
    for one in range(len(scores)):
        for other in range(one):
            assume(abs(confidence[one] - confidence[other]) > GAP or not confidence[one]
                   or torch.equal(masks[one], masks[other]) and best[one] == best[other])


@pytest.mark.filterwarnings('ignore:.*not finite')
@pytest.mark.parametrize('name', HEADS)
@cases(40)
@given(data=st.data())
def test_queries_that_are_not_finite_have_no_effect(name, data):
    scores, masks = data.draw(predictions([-3.0, -1.0, 0.0, 2.0], least=1))
    size = tuple(masks.shape[1:])
    bad = sorted(data.draw(st.sets(st.integers(0, len(scores) - 1), min_size=1)))
    good = [q for q in range(len(scores)) if q not in bad]
    if name == 'kmax' and good:
        assume_no_near_ties(scores[good], masks[good])
    broken_scores, broken_masks = scores.clone(), masks.clone()
    for query in bad:
        value = data.draw(st.sampled_from([math.nan, math.inf]))
        if data.draw(st.booleans()):
            broken_scores[query, data.draw(st.integers(0, CLASSES))] = value
        else:
            sign = data.draw(st.sampled_from([1, -1]))
            row, column = (data.draw(st.integers(0, side - 1)) for side in size)
            broken_masks[query, row, column] = sign * value
    found = predict(build(name), broken_scores, DenseMaskLogits([broken_masks[None]]), size,
                    **OUTPUTS)
    left = predict(build(name), scores[good], DenseMaskLogits([masks[good][None]]), size,
                   **dict(OUTPUTS, semantic_on=bool(good)))
    panoptic, expected = found['pred_panoptic_seg'], left['pred_panoptic_seg']
    assert torch.equal(panoptic.sem_seg, expected.sem_seg)
    # softmax sums of other numbers of queries are rounded in another way
    assert panoptic.segments_info == [
        dict(s, query=good[s['query']], score=pytest.approx(s['score'], abs=1e-6))
        for s in expected.segments_info]
    assert found['pred_instances'].scores.isfinite().all()
    assert sure_instances(found) == [(label, mask, pytest.approx(score, abs=1e-6))
                                     for label, mask, score in sure_instances(left)]
    if good:
        assert torch.equal(found['pred_sem_seg'].sem_seg, left['pred_sem_seg'].sem_seg)
