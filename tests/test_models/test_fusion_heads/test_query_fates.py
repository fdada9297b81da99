"""What became of each query, against the rules written out plainly, query by query."""
import copy
import pickle

import pytest
import torch

from mmpanseg.models.fusion_heads import (
    FusionHead,
    HeuristicFusionHead,
    KMaXFusionHead,
    MaskWiseFusionHead,
    PixelwiseFusionHead,
)
from mmpanseg.models.fusion_heads.query_fates import FATES, Fate, FateLog, contrast
from mmpanseg.models.fusion_heads.segments import paint
from mmpanseg.models.inference.augmented_views import merge_views
from mmpanseg.models.inference.test_cfg import OutputOptions
from mmpanseg.structures.mask_logits import DenseMaskLogits

THINGS, CLASSES, SIZE = 2, 4, (16, 20)
COUNTS = dict(num_things_classes=THINGS, num_stuff_classes=CLASSES - THINGS)
HEADS = {
    'pixelwise': [dict(object_mask_thr=thr, iou_thr=iou, weighted=weighted, filter_low_score=low)
                  for thr in (0.0, 0.5) for iou in (0.0, 0.6)
                  for weighted in (True, False) for low in (True, False)],
    'mask_wise': [dict(t_cnf=t_cnf, t_keep=t_keep, alpha=alpha, beta=beta)
                  for t_cnf in (0.0, 0.3, (0.5, 0.2)) for t_keep in (0.0, 0.7, (0.3, 0.8))
                  for alpha, beta in ((1, 2), (1, 0))] + [dict(
                      score_activation='sigmoid', mask_activation='none', extra_pixels=1,
                      resize_once=True)],
    'heuristic': [dict(score_thr=thr, mask_overlap=overlap, stuff_area_limit=limit)
                  for thr in (0.0, 0.5) for overlap in (0.3, 1.0) for limit in (0, 30, 900)],
    'kmax': [dict(score_thr=thr, mask_thr=mask, overlap_thr=overlap, area_limit=limit)
             for thr in (0.2, (0.5, 0.3)) for mask in (0.2, 0.4) for overlap in (0.0, 0.7)
             for limit in (0, (10, 60))]}
TYPES = dict(pixelwise=PixelwiseFusionHead, mask_wise=MaskWiseFusionHead,
             heuristic=HeuristicFusionHead, kmax=KMaXFusionHead)
CASES = [(name, number) for name, options in HEADS.items() for number in range(len(options))]


def views_of(head: FusionHead, seed: int, count: int = 1, broken: bool = False) -> list:
    """Views of an image with twelve queries; copies of the first view with noise."""
    generator = torch.Generator().manual_seed(seed)
    scores = 3 * torch.randn(1, 12, CLASSES + (head.score_activation == 'softmax'),
                             generator=generator)
    masks = 4 * torch.randn(1, 12, 5, 6, generator=generator)
    masks[0, 8] = masks[0, 7] - 0.01   # one covers the other
    masks[0, 9] = -9                   # nothing
    masks[0, 10] = masks[0, 7] - 1     # inside the other
    scores[0, 8] = scores[0, 7]
    if broken:
        scores[0, 3, 0], masks[0, 4, 2, 2] = float('nan'), float('inf')
    views = []
    for k in range(count):
        noise = 0.3 * k * torch.randn(masks.shape, generator=generator)
        logits = masks + noise
        if head.mask_activation == TYPES['mask_wise'](
                **COUNTS, mask_activation='none').mask_activation:
            logits = torch.where(logits.isfinite(), logits.sigmoid(), logits)
        meta = dict(batch_input_shape=(20, 24), img_shape=(16, 24), ori_shape=SIZE)
        views += head.views(scores, DenseMaskLogits([logits]), [meta])
    return views


def share(part: int, whole: int) -> float:
    return float(torch.tensor(part) / torch.tensor(whole))


def of_kind(pair, label: int) -> float:
    return pair[label >= THINGS]


def first_of_largest(product: torch.Tensor) -> torch.Tensor:
    """Position [H, W] of the first of the largest values, which argmax does not promise."""
    winner = torch.zeros(product.shape[1:], dtype=torch.long)
    for k in reversed(range(len(product))):
        winner[product[k] == product.amax(0)] = k
    return winner


class Slow:
    """The rules on masks of all queries at once; notes the first reason against each query."""

    def __init__(self, head: FusionHead, probs: torch.Tensor, masks) -> None:
        self.head, self.probs = head, probs
        queries = torch.arange(len(probs))
        self.logits = torch.cat([*masks.chunks(queries)])
        self.soft = masks.activation.probs(self.logits)
        self.inside = self.logits > masks.activation.threshold
        self.max_probs = masks.max_probs(queries) * 1.001
        self.found: dict[int, tuple] = {}
        self.pixels: dict[int, int] = {}     # of queries that are painted
        self.label_of: dict[int, int] = {}
        for query, bad in enumerate(masks.broken):
            if bad:
                self.fail(query, 'not_finite')

    def fail(self, query: int, rule: str, value=None, limit=None, option=None) -> None:
        self.found.setdefault(query, (rule, value, limit, option))

    def objects(self) -> list[int]:
        """Queries whose best class is not "no object"."""
        left = []
        for query, row in enumerate(self.probs):
            if row[-1] > row[:-1].max():
                self.fail(query, 'no_object', row[:-1].max(), row[-1])
            else:
                left.append(query)
        return left

    def label(self, query: int) -> int:
        return int(self.probs[query, :-1].argmax())

    def score(self, query: int) -> float:
        return float(self.probs[query, :-1].max())

    def in_order(self, order: list[int], is_enough, limit_of, option: str,
                 covered: bool = False) -> dict[int, int]:
        taken = torch.zeros(SIZE, dtype=torch.bool)
        won = {}
        for query in order:
            total = int(self.inside[query].sum())
            free = self.inside[query] & ~taken
            count, limit = int(free.sum()), limit_of(self.label(query))
            if not total:
                self.fail(query, 'empty')
            elif not is_enough(count, total, limit):
                value = share(count, total)
                self.fail(query, 'overlap', 1 - value if covered else value, limit, option)
            elif not count:
                self.fail(query, 'no_pixels')
            else:
                won[query] = count
                taken |= free
        self.taken = taken
        return won

    def pixelwise(self) -> dict[int, int]:
        head, kept, won_pixels = self.head, [], {}
        for query in self.objects():
            if self.score(query) > head.object_mask_thr:
                kept.append(query)
            else:
                self.fail(query, 'score', self.score(query), head.object_mask_thr,
                          'object_mask_thr')
        if not kept:
            return {}
        weights = torch.tensor([self.score(q) if head.weighted else 1.0 for q in kept])
        product = weights[:, None, None] * self.soft[kept]
        winner = first_of_largest(product)
        for k, query in enumerate(kept):
            own, won = self.soft[query] >= 0.5, winner == k
            painted = int((won & own if head.filter_low_score else won).sum())
            area, won = int(own.sum()), int(won.sum())
            if not head.filter_low_score:
                area = max(area, 1)
            if not area:
                self.fail(query, 'empty')
            elif won / area < head.iou_thr:
                self.fail(query, 'overlap', won / area, head.iou_thr, 'iou_thr')
            elif not painted:
                self.fail(query, 'no_pixels')
            else:
                won_pixels[query] = painted
        return won_pixels

    def mask_wise(self) -> dict[int, int]:
        head, confidences = self.head, {}
        for query in self.objects():
            inside, limit = self.inside[query], of_kind(head.t_cnf, self.label(query))
            bound = self.score(query) ** head.alpha * self.max_probs[query] ** head.beta
            total = (self.soft[query] * inside).sum()
            mean = float(total / (inside.sum() + head.extra_pixels).clamp(min=1e-30))
            confidence = self.score(query) ** head.alpha * mean ** head.beta * (mean > 0)
            if self.max_probs[query] < 0.5 or (bound >= limit and not inside.any()):
                self.fail(query, 'empty')
            if confidence >= limit:
                confidences[query] = confidence
            else:
                self.fail(query, 'confidence', confidence if bound >= limit else bound, limit,
                          't_cnf')
        order = sorted(confidences, key=lambda query: (-confidences[query], query))
        return self.in_order(
            order, lambda count, total, limit: count >= torch.tensor(limit) * total,
            lambda label: of_kind(head.t_keep, label), 't_keep')

    def heuristic(self) -> dict[int, int]:
        head, things, stuff = self.head, [], []
        for query in self.objects():
            score = self.score(query)
            if self.label(query) >= THINGS:
                stuff.append(query)
            elif score >= head.score_thr:
                things.append(query)
            else:
                self.fail(query, 'score', score, head.score_thr, 'score_thr')
        things.sort(key=lambda query: (-self.score(query), query))
        won = self.in_order(
            things, lambda count, total, limit: count >= torch.tensor(1 - limit) * total,
            lambda label: head.mask_overlap, 'mask_overlap', covered=True)
        if not stuff:
            return won
        product = torch.stack([self.score(query) * self.soft[query] for query in stuff])
        winner = first_of_largest(product)
        wins = {query: int(((winner == k) & ~self.taken).sum()) for k, query in enumerate(stuff)}
        for query, count in wins.items():
            area = sum(other for q, other in wins.items() if self.label(q) == self.label(query))
            if not count:
                self.fail(query, 'no_pixels')
            elif area < head.stuff_area_limit:
                self.fail(query, 'area', area, head.stuff_area_limit, 'stuff_area_limit')
            else:
                won[query] = count
        return won

    def kmax(self) -> dict[int, int]:
        head, confidences = self.head, {}
        for query in range(len(self.probs)):
            limit, score = of_kind(head.score_thr, self.label(query)), self.score(query)
            if score > limit:
                inside = self.inside[query]
                mean = (self.soft[query] * inside).sum() / inside.sum().clamp(min=1e-30)
                confidences[query] = score ** head.class_power * float(mean) ** head.mask_power
            else:
                self.fail(query, 'score', score, limit, 'score_thr')
        order = sorted(confidences, key=lambda query: (-confidences[query], query))
        won = self.in_order(
            order, lambda count, total, limit: count > torch.tensor(limit) * total,
            lambda label: head.overlap_thr, 'overlap_thr')
        left = {}
        for query, count in won.items():
            label = self.label(query)
            area = count if label < THINGS else sum(
                other for q, other in won.items() if self.label(q) == label)
            if area >= of_kind(head.area_limit, label):
                left[query] = count
            else:
                self.fail(query, 'area', area, of_kind(head.area_limit, label), 'area_limit')
        return left


def near(value, expected) -> bool:
    return value == expected or abs(value - float(expected)) < 1e-5


@pytest.mark.parametrize('name, number', CASES)
def test_fates_are_those_of_the_plain_rule(name, number):
    head = TYPES[name](**COUNTS, **HEADS[name][number])
    with pytest.warns(RuntimeWarning, match='NaN or infinite'):
        seeds = [(seed, 1 + (seed % 4 == 3), seed % 5 == 4) for seed in range(15)]
        all_views = [views_of(head, *seed) for seed in seeds]
    for views in all_views:
        fates = head.fates(views)
        result = head.fuse(views, OutputOptions())['pred_panoptic_seg']
        infos = {info['query']: info for info in result.segments_info}
        assert [fate.query for fate in fates] == [*range(12)]
        # with the map: every segment has one query, and every id with pixels has queries
        assert {fate.query: fate.segment for fate in fates if fate.rule == 'kept'} == {
            query: info['id'] for query, info in infos.items()}
        ids = {*result.sem_seg.unique().tolist()} - {CLASSES}
        assert {fate.segment for fate in fates} - {None} == ids

        probs, masks = merge_views(views)
        slow = Slow(head, probs, masks)
        won = getattr(slow, name)()
        for fate in fates:
            assert fate.label == slow.label(fate.query)
            assert near(fate.score, slow.score(fate.query))
            if fate.rule == 'merged':
                assert fate.query in won and fate.query not in infos
                assert fate.segment == fate.label >= THINGS
            elif fate.rule == 'kept':
                # the best stuff query leads its class even if others have its pixels
                assert fate.query in won or name == 'heuristic' and fate.label >= THINGS
                assert infos[fate.query]['label'] == fate.label
            else:
                assert fate.query not in won and fate.segment is None
                rule, *compared, option = slow.found[fate.query]
                assert (fate.rule, fate.option) == (rule, option), (fate, slow.found[fate.query])
                for value, wanted in zip((fate.value, fate.limit), compared):
                    assert value is wanted is None or near(value, wanted)
            assert fate.rule in FATES and fate.text


def test_the_random_cases_have_every_fate():
    """The comparison above sees each rule of each head."""
    seen = {}
    for name, number in CASES:
        head = TYPES[name](**COUNTS, **HEADS[name][number])
        for seed in range(15):
            head.dropped.images = 1  # no warning
            seen.setdefault(name, set()).update(
                fate.rule for fate in head.fates(views_of(head, seed, 1, seed % 5 == 4)))
    always = {'kept', 'merged', 'not_finite', 'no_pixels'}
    assert seen == {
        'pixelwise': always | {'no_object', 'score', 'empty', 'overlap'},
        'mask_wise': always | {'no_object', 'confidence', 'empty', 'overlap'},
        'heuristic': always | {'no_object', 'score', 'empty', 'overlap', 'area'},
        'kmax': (always | {'score', 'empty', 'overlap', 'area'}) - {'no_pixels'}}


def strips(*widths: tuple[int, int]) -> torch.Tensor:
    """Masks [1, Q, 10, 10] of the columns from .. to."""
    masks = torch.full((1, len(widths), 10, 10), -8.0)
    for mask, (start, stop) in zip(masks[0], widths):
        mask[:, start:stop] = 8.0
    return masks


def logits_of(*rows: tuple) -> torch.Tensor:
    """Class logits [1, Q, K + 1] with these probabilities."""
    return torch.tensor([rows]).log()


META = [dict(batch_input_shape=(10, 10), img_shape=(10, 10), ori_shape=(10, 10))]
CAR, SKY, NONE = (0.9, 0.02, 0.02, 0.02, 0.04), (0.02, 0.02, 0.85, 0.02, 0.09), (
    0.3, 0.05, 0.05, 0.05, 0.55)
WEAK = (0.7996, 0.05, 0.05, 0.05, 0.0504)


@pytest.mark.parametrize('head, masks, probs, expected', [
    (PixelwiseFusionHead(**COUNTS), strips((0, 4), (2, 8), (8, 10), (8, 10), (0, 9), (4, 4)),
     (CAR, (0.95, 0.01, 0.01, 0.01, 0.02), NONE, WEAK, SKY, SKY), [
         (0, 'overlap', 0.5, 0.8, 'iou_thr',
          'it wins an area of only 0.50 of its mask, too little for iou_thr 0.8'),
         (1, 'kept', None, None, None, 'it is kept as a segment'),
         (2, 'no_object', 0.3, 0.55, None, '"no object" has the higher score (0.55 against 0.30)'),
         (3, 'score', 0.7996, 0.8, 'object_mask_thr',
          'its class score 0.7996 is too low for object_mask_thr 0.8'),
         (4, 'overlap', 0.11111, 0.8, 'iou_thr',
          'it wins an area of only 0.11 of its mask, too little for iou_thr 0.8'),
         (5, 'empty', None, None, None, 'its mask is empty')]),
    (MaskWiseFusionHead(**COUNTS, t_cnf=0.5, beta=0), strips((0, 4), (2, 8), (8, 10), (8, 10)),
     (CAR, (0.95, 0.01, 0.01, 0.01, 0.02), SKY, (0.3, 0.2, 0.2, 0.2, 0.1)), [
         (0, 'overlap', 0.5, 0.6, 't_keep',
          'other queries leave it 0.50 of its mask, too little for t_keep 0.6'),
         (2, 'kept', None, None, None, 'it is kept as a segment'),
         (3, 'confidence', 0.3, 0.5, 't_cnf',
          'its confidence is 0.30 at most, too low for t_cnf 0.5')]),
    (HeuristicFusionHead(**COUNTS, stuff_area_limit=30),
     strips((0, 5), (1, 5), (6, 8), (8, 9), (9, 10)),
     (CAR, (0.89, 0.02, 0.02, 0.02, 0.05), (0.3, 0.2, 0.2, 0.2, 0.1), SKY,
      (0.02, 0.02, 0.02, 0.8, 0.14)), [
         (1, 'overlap', 1.0, 0.5, 'mask_overlap',
          'earlier things cover 1.00 of its mask, more than mask_overlap 0.5'),
         (2, 'score', 0.3, 0.5, 'score_thr', 'its class score 0.30 is too low for score_thr 0.5'),
         (3, 'kept', None, None, None, 'it is kept as a segment'),
         (4, 'area', 10, 30, 'stuff_area_limit',
          'its segment has 10 pixels, too few for stuff_area_limit 30')]),
    (KMaXFusionHead(**COUNTS, area_limit=(0, 60)), strips((0, 4), (4, 8), (8, 10)),
     (CAR, SKY, (0.02, 0.02, 0.8, 0.02, 0.14)), [
         (1, 'area', 40 + 20, 60, None, None)]),
], ids=['pixelwise', 'mask_wise', 'heuristic', 'kmax'])
def test_each_rule_by_hand(head, masks, probs, expected):
    view, = head.views(logits_of(*probs), DenseMaskLogits([masks]), META)
    fates = head.fates([view])
    if isinstance(head, KMaXFusionHead):
        # 60 pixels of sky together are enough
        assert [(fate.rule, fate.segment) for fate in fates] == [
            ('kept', 1000), ('kept', 2), ('merged', 2)]
        assert fates[2].text == 'its pixels belong to the stuff segment of another query'
        head.area_limit = (0, 61)
        fates = head.fates([view])
        assert fates[1].rule == fates[2].rule == 'area'
        assert fates[2].text == 'its segment has 60 pixels, too few for area_limit 61'
        return
    for query, rule, value, limit, option, text in expected:
        fate = fates[query]
        assert (fate.rule, fate.option, fate.text) == (rule, option, text)
        assert fate.value is value is None or near(fate.value, value) and near(fate.limit, limit)


def test_stuff_without_a_score():
    """Scores of 0 are possible where classes are excluded from a query."""
    head = HeuristicFusionHead(**COUNTS, score_thr=0, score_activation='sigmoid')
    scores = torch.tensor([[[-9.0, -9.0, -200.0, -200.0], [-200.0, -200.0, -200.0, -200.0]]])
    scores[0, 1, :2] = -float('inf')
    view, = head.views(scores, DenseMaskLogits([strips((0, 4), (4, 8))]), META)
    other = head.fates([view])[1]
    # the first of equal classes is a thing
    assert other.label == 0 or other.text == 'its class score is 0'
    fate = Fate(1, 2, 0.0, 'score', 0.0, 0.0)
    assert fate.text == 'its class score is 0'


class Shy(PixelwiseFusionHead):
    """A rule of another package that calls queries "no object" and tells no log."""

    def panoptic(self, scores, labels, masks):
        return super().panoptic(scores, labels.new_tensor([0, CLASSES]), masks)


class Silent(PixelwiseFusionHead):
    def panoptic(self, scores, labels, masks):
        owner = torch.zeros(masks.size, dtype=torch.int32)
        return paint(owner, [2], [dict(id=2, label=2, isthing=False, score=0.5, query=1)])


def test_rules_of_others():
    masks, probs = strips((0, 4), (4, 8)), logits_of(CAR, SKY)
    for head, rules in ((Shy(**COUNTS), ['kept', 'unknown']),
                        (Silent(**COUNTS), ['unknown', 'kept'])):
        view, = head.views(probs, DenseMaskLogits([masks]), META)
        assert [fate.rule for fate in head.fates([view])] == rules
    assert head.fates([view])[0].text == 'the fusion rule drops it and does not say why'


@pytest.mark.parametrize('name', TYPES)
def test_a_head_is_not_changed(name):
    head = TYPES[name](**COUNTS)
    views = views_of(head, 0)
    log = head.log
    before = head.fuse(views, OutputOptions())['pred_panoptic_seg']
    fates = head.fates(views)
    assert head.log is log and not isinstance(log, FateLog)
    after = copy.deepcopy(head).fuse(views, OutputOptions())['pred_panoptic_seg']
    assert torch.equal(before.sem_seg, after.sem_seg)
    assert before.segments_info == after.segments_info
    assert pickle.loads(pickle.dumps(head)).fates(views) == fates == head.fates(views)


@pytest.mark.parametrize('value, limit, expected', [
    (0.41, 0.8, ('0.41', '0.80')), (0.7996, 0.8, ('0.7996', '0.8000')), (20, 60, ('20', '60')),
    (0.0, 0.6, ('0.00', '0.60')), (0.5, 0.5, ('0.500000', '0.500000'))])
def test_numbers_that_differ_look_different(value, limit, expected):
    assert contrast(value, limit) == expected
