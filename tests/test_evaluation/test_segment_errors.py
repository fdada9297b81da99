"""Kinds of errors: made by hand, planted, and against the definition written with masks."""
import numpy as np
import pytest

from mmpanseg.evaluation.panoptic_quality import (
    PanopticMap,
    index_map,
    match_segments,
    segment_overlaps,
)
from mmpanseg.evaluation.segment_errors import (
    describe,
    error_map,
    find_errors,
)
from mmpanseg.structures.error_kinds import NO_ERRORS, SEGMENT_KINDS, PixelKind

CLASSES = ('car', 'truck', 'road')
LETTERS = {kind: letter for kind, letter in zip(PixelKind, 'RCMIGSBV')}


def analyze(gt: PanopticMap, pred: PanopticMap) -> tuple:
    overlap = segment_overlaps(gt, pred, 'image')
    matching = match_segments(gt, pred, overlap, 'image')
    findings = find_errors(gt, pred, overlap, matching)
    return findings, error_map(gt, pred, findings, matching), matching


def segments(rows: str, labels: dict, crowd: str = '') -> PanopticMap:
    """A map of one letter a pixel; '.' is void."""
    grid = np.array([[0 if letter == '.' else ord(letter) for letter in row]
                     for row in rows.split()])
    present = np.setdiff1d(grid, 0).tolist()
    return PanopticMap(grid, present, [CLASSES.index(labels.get(chr(i), 'car')) for i in present],
                       [chr(i) in crowd for i in present])


# ground truth, prediction, labels (car if not named), kinds of gt, kinds of pred, pixels
CASES = {
    'equal': ('aabb', 'xxyy', {}, ('matched', 'matched'), ('matched', 'matched'), 'RRRR'),
    'boundary': ('aaabbb', 'xxxxyy', {'b': 'road', 'y': 'road'},
                 ('matched', 'matched'), ('matched', 'matched'), 'RRRBRR'),
    'boundary on nothing': ('aaab', 'xx.y', {}, ('matched', 'matched'), ('matched', 'matched'),
                            'RRBR'),
    'wrong class': ('aaabbb', 'xxxyyy', {'x': 'truck'}, ('wrong_class', 'matched'),
                    ('wrong_class', 'matched'), 'CCCRRR'),
    'wrong class and borders': ('aaab', 'xx.y', {'x': 'truck'}, ('wrong_class', 'matched'),
                                ('wrong_class', 'matched'), 'CCBR'),
    'merged': ('aaabbb', 'xxxxxx', {}, ('merged', 'merged'), ('merged', ), 'GGGGGG'),
    'merged into a match': ('aaaaab', 'xxxxxx', {}, ('matched', 'merged'), ('matched', ),
                            'RRRRRG'),
    'merged, and part of a third': ('aabbccc', 'xxxxx..', {}, ('merged', 'merged', 'missed'),
                                    ('merged', ), 'GGGGGMM'),
    'not merged: mostly elsewhere': ('abrrrr', 'xxxxxx', {'r': 'road'},
                                     ('missed', 'missed', 'wrong_class'), ('wrong_class', ),
                                     'MMCCCC'),
    'split': ('aaaarr', 'xxyyrr', {'r': 'road'}, ('split', 'matched'),
              ('matched', 'split', 'split'), 'SSSSRR'),
    'split with a rest': ('aaaaaa', 'xxyy..', {}, ('split', ), ('split', 'split'), 'SSSSBB'),
    'too little to be split': ('aaaaaa', 'xxy...', {}, ('near_miss', ), ('near_miss', 'invented'),
                               'MMMMMM'),
    'duplicate': ('aaaa', 'xxxy', {}, ('matched', ), ('matched', 'duplicate'), 'RRRS'),
    'near miss': ('aaaarrrrrr', 'rrxxxrrrrr', {'r': 'road'}, ('near_miss', 'matched'),
                  ('matched', 'near_miss'), 'MMMMIRRRRR'),
    'half is a near miss': ('aa', 'x.', {}, ('near_miss', ), ('near_miss', ), 'MM'),
    'a quarter is missed': ('aaaa', 'x...', {}, ('missed', ), ('invented', ), 'MMMM'),
    'missed': ('aarrrr', 'rrrrrr', {'r': 'road'}, ('missed', 'matched'), ('matched', ), 'MMRRRR'),
    'invented': ('rrrrr', 'xxrrr', {'r': 'road'}, ('matched', ), ('matched', 'invented'),
                 'IIRRR'),
    'both without a match': ('aaaa', 'xxyy', {'x': 'truck', 'y': 'road'}, ('missed', ),
                             ('invented', 'invented'), 'CCCC'),
    'void': ('..aa', 'xxyy', {'x': 'truck'}, ('matched', ), ('ignored', 'matched'), 'VVRR'),
    'void in part': ('...aaaa', 'xxxxxxx', {}, ('matched', ), ('matched', ), 'VVVRRRR')}


@pytest.mark.parametrize('name', CASES)
def test_made_by_hand(name):
    gt, pred, labels, of_gt, of_pred, pixels = CASES[name]
    findings, errors, _ = analyze(segments(gt, labels), segments(pred, labels))
    assert tuple(f.kind for f in findings if f.side == 'gt') == of_gt
    assert tuple(f.kind for f in findings if f.side == 'pred') == of_pred
    assert ''.join(LETTERS[kind] for kind in errors[0]) == pixels


@pytest.mark.parametrize('label, kind', [('car', 'ignored'), ('truck', 'invented')])
def test_crowd_is_never_an_error(label, kind):
    gt = segments('ccccaa', {}, crowd='c')
    findings, errors, _ = analyze(gt, segments('xxx.yy', {'x': label}))
    assert [f.kind for f in findings] == ['matched', 'ignored', kind, 'matched']
    assert ''.join(LETTERS[kind] for kind in errors[0]) == 'RRVVVV'[::-1]


def planted(change: str) -> tuple[PanopticMap, PanopticMap]:
    """Three cars on a road, 40 x 60, and a prediction with one error."""
    grid = np.full((40, 60), 4)
    for number in (1, 2, 3):
        grid[10:30, 20 * number - 18:20 * number - 2] = number
    grid[10:30, 18:22] = 1  # the first touches the second
    labels = [0, 0, 1, 2]
    gt = PanopticMap(grid, [1, 2, 3, 4], labels)
    grid, ids = grid.copy(), [1, 2, 3, 4]
    if change == 'wrong_class':
        labels = [0, 0, 0, 2]
    elif change == 'merged':
        grid[grid == 2], ids, labels = 1, [1, 3, 4], [0, 1, 2]
    elif change == 'split':
        grid[10:20, 42:58], ids, labels = 5, [1, 2, 3, 4, 5], [*labels, 1]
    elif change == 'missed':
        grid[grid == 3], ids, labels = 4, [1, 2, 4], [0, 0, 2]
    elif change == 'near_miss':
        grid[grid == 3] = 4
        grid[17:37, 44:60] = 3
    elif change == 'invented':
        grid[32:38, 20:40], ids, labels = 5, [1, 2, 3, 4, 5], [*labels, 1]
    elif change == 'duplicate':
        grid[10:15, 42:58], ids, labels = 5, [1, 2, 3, 4, 5], [*labels, 1]
    return gt, PanopticMap(grid, ids, labels)


@pytest.mark.parametrize('change, side, position, others, siblings, text', [
    ('wrong_class', 'gt', 2, (2, ), (), 'predicted as car (IoU 1.00)'),
    ('wrong_class', 'pred', 2, (2, ), (), 'truly truck (IoU 1.00)'),
    ('merged', 'gt', 1, (0, ), (0, ), 'merged with another car into one segment (IoU 0.44)'),
    ('merged', 'gt', 0, (0, ), (), 'found (IoU 0.56)'),
    ('split', 'gt', 2, (2, 4), (), 'split into 2 segments (largest IoU 0.50)'),
    ('split', 'pred', 4, (2, ), (2, ), 'one of 2 parts of one truck (IoU 0.50)'),
    ('missed', 'gt', 2, (2, ), (), 'missed, 100% of it is predicted as road'),
    ('near_miss', 'gt', 2, (2, ), (),
     'IoU 0.397 with its nearest segment, a match needs more than 0.5'),
    ('near_miss', 'pred', 2, (2, ), (),
     'IoU 0.397 with its nearest segment, a match needs more than 0.5'),
    ('invented', 'pred', 4, (3, ), (), 'invented, 100% of it is on road'),
    ('duplicate', 'pred', 4, (2, ), (2, ), 'a second segment on one truck, 100% of it is inside')])
def test_explanation(change, side, position, others, siblings, text):
    gt, pred = planted(change)
    findings, _, _ = analyze(gt, pred)
    finding = next(f for f in findings if (f.side, f.position) == (side, position))
    assert finding.kind == change or finding.kind == 'matched'
    assert (finding.others, finding.siblings) == (others, siblings)
    assert describe(finding, gt, pred, CLASSES) == text


@pytest.mark.parametrize('gt, pred, labels, side, text', [
    ('aaaa', '....', {}, 'gt', 'missed, 100% of it is in no segment'),
    ('aaaaa', 'x....', {}, 'gt', 'missed, 80% of it is in no segment'),
    ('a' * 300, 'x' + 299 * '.', {}, 'gt', 'missed, >99% of it is in no segment'),
    ('aaaaaa', 'xyyzzz', {'y': 'road', 'z': 'truck'}, 'gt',
     'missed, 50% of it is predicted as truck'),
    ('arrrrr', 'xxxxxr', {'r': 'road'}, 'gt',
     'missed, 100% of it is in a much larger segment of its class (IoU 0.20)'),
    ('arrrrr', 'bbbbbr', {'r': 'road'}, 'pred', 'truly road (IoU 0.67)'),
    ('aaaaaa', 'x.....', {}, 'pred', 'invented, 100% of it is on one car, which it does not fit '
     '(IoU 0.17)'),
    ('..raaaa', 'xxxyyyy', {'r': 'road'}, 'pred', 'mostly on void or a crowd, not scored'),
    ('..rta', 'xxxxy', {'r': 'road', 't': 'truck'}, 'pred', 'invented, 50% of it is on void'),
    ('aabbcc', 'xxxxxx', {}, 'gt', 'merged with 2 others of its class into one segment (IoU 0.33)'),
    ('aabbcc', 'xxxxxx', {}, 'pred', 'one segment for 3 of its class'),
    ('aaa', 'xxx', {}, 'pred', 'right (IoU 1.00)')])
def test_sentence_of_the_first_segment(gt, pred, labels, side, text):
    gt, pred = segments(gt, labels), segments(pred, labels)
    finding = next(f for f in analyze(gt, pred)[0] if f.side == side)
    assert describe(finding, gt, pred, CLASSES) == text


def test_sentence_of_a_crowd():
    gt = segments('aac', {}, crowd='c')
    assert describe(analyze(gt, gt)[0][1], gt, gt, CLASSES) == 'a crowd, not scored'


class Definition:
    """The text of the module, with one mask for each segment."""

    def __init__(self, gt: PanopticMap, pred: PanopticMap) -> None:
        self.gt, self.pred = gt, pred
        self.void = gt.map == gt.void
        self.true = [gt.map == i for i in gt.ids]
        self.guess = [(pred.map == i) & ~self.void for i in pred.ids]
        self.full = [pred.map == i for i in pred.ids]
        self.pairs = {g: p for g in range(len(gt.ids)) for p in range(len(pred.ids))
                      if not gt.crowd[g] and self.same(g, p) and self.iou(g, p) > 0.5}

    def same(self, g: int, p: int) -> bool:
        return self.gt.labels[g] == self.pred.labels[p]

    def iou(self, g: int, p: int) -> float:
        union = (self.true[g] | self.guess[p]).sum()
        return (self.true[g] & self.guess[p]).sum() / union

    def mostly(self, part: np.ndarray, whole: np.ndarray) -> bool:
        return bool(part.any()) and (part & whole).sum() / part.sum() > 0.5

    def covered(self, p: int) -> list:
        return [g for g in range(len(self.true)) if self.same(g, p) and not self.gt.crowd[g]
                and self.mostly(self.true[g], self.guess[p])]

    def is_merged(self, p: int) -> bool:
        on_class = np.zeros_like(self.void)
        for g, mask in enumerate(self.true):
            on_class |= mask & self.same(g, p)
        return len(self.covered(p)) >= 2 and self.mostly(self.guess[p], on_class)

    def parts(self, g: int) -> list:
        return [p for p in range(len(self.guess)) if self.same(g, p)
                and self.mostly(self.guess[p], self.true[g])]

    def kind_of_gt(self, g: int) -> str:
        if self.gt.crowd[g]:
            return 'ignored'
        if g in self.pairs:
            return 'matched'
        if any(self.iou(g, p) > 0.5 for p in range(len(self.guess))):
            return 'wrong_class'
        if any(g in self.covered(p) and self.is_merged(p) for p in range(len(self.guess))):
            return 'merged'
        parts = self.parts(g)
        if len(parts) >= 2:
            joined = np.any([self.guess[p] for p in parts], axis=0)
            if (joined & self.true[g]).sum() / (joined | self.true[g]).sum() > 0.5:
                return 'split'
        if any(self.iou(g, p) > 0.25 and self.same(g, p) and p not in self.pairs.values()
               for p in range(len(self.guess))):
            return 'near_miss'
        return 'missed'

    def kind_of_pred(self, p: int) -> str:
        if p in self.pairs.values():
            return 'matched'
        forgiven = self.void.copy()
        for g in np.flatnonzero(self.gt.crowd):
            if self.same(g, p):
                forgiven = self.void | self.true[g]
        if self.mostly(self.full[p], forgiven):
            return 'ignored'
        scored = [g for g in range(len(self.true)) if not self.gt.crowd[g]]
        if any(self.iou(g, p) > 0.5 for g in scored):
            return 'wrong_class'
        if self.is_merged(p):
            return 'merged'
        if any(self.kind_of_gt(g) == 'split' and p in self.parts(g) for g in scored):
            return 'split'
        if any(g in self.pairs and p in self.parts(g) for g in scored):
            return 'duplicate'
        if any(g not in self.pairs and self.same(g, p) and self.iou(g, p) > 0.25 for g in scored):
            return 'near_miss'
        return 'invented'

    def kind_of_pixel(self, g: int | None, p: int | None) -> PixelKind:
        if g is None or self.gt.crowd[g]:
            return PixelKind.VOID
        if p is not None and self.pairs.get(g) == p:
            return PixelKind.RIGHT
        true, guess = self.kind_of_gt(g), '' if p is None else self.kind_of_pred(p)
        if p is not None and true == 'wrong_class' and self.iou(g, p) > 0.5:
            return PixelKind.WRONG_CLASS
        if p is not None and true == 'split' and p in self.parts(g):
            return PixelKind.SPLIT
        if guess == 'duplicate' and p in self.parts(g):
            return PixelKind.SPLIT
        if (p is not None and self.is_merged(p) and self.same(g, p)
                and true in ('merged', 'near_miss', 'missed')):
            return PixelKind.MERGED
        if true in ('near_miss', 'missed'):
            return (PixelKind.WRONG_CLASS if guess == 'invented' and not self.same(g, p)
                    else PixelKind.MISSED)
        return (PixelKind.INVENTED if guess in ('near_miss', 'duplicate', 'invented')
                else PixelKind.BOUNDARY)


def random_map(rng: np.random.Generator, size: tuple, amount: int, classes: int) -> np.ndarray:
    grid = np.zeros(size, int)
    for segment in range(1, amount + 1):
        top, left = (rng.integers(-2, side) for side in size)
        height, width = rng.integers(1, 9, 2)
        grid[max(top, 0):top + height, max(left, 0):left + width] = segment
    return grid


def random_pair(seed: int) -> tuple[PanopticMap, PanopticMap]:
    """Random rectangles, few classes; half of the predictions are a changed ground truth."""
    rng = np.random.default_rng(seed)
    size, classes = tuple(rng.integers(4, 16, 2)), int(rng.integers(1, 4))
    true = random_map(rng, size, int(rng.integers(1, 9)), classes)
    ids = np.setdiff1d(true, 0)
    labels = rng.integers(0, classes, len(ids))
    gt = PanopticMap(true, ids, labels, rng.random(len(ids)) < 0.15, name='truth')
    if seed % 2:
        guess = random_map(rng, size, int(rng.integers(1, 9)), classes)
    else:
        guess = np.roll(true, rng.integers(-1, 2), axis=1)
        for segment in ids:
            where = guess == segment
            action = rng.integers(5)
            if action == 0 and len(ids):
                guess[where] = rng.choice(ids)
            elif action == 1:
                guess[where & (np.arange(size[1]) % size[1] > rng.integers(size[1]))] += 100
            elif action == 2:
                guess[where & (rng.random(size) < 0.4)] = 0
    of_id = dict(zip(ids.tolist(), labels.tolist()))
    ids = np.setdiff1d(guess, 0)
    labels = [of_id[i % 100] if i % 100 in of_id and rng.random() < 0.8
              else int(rng.integers(classes)) for i in ids.tolist()]
    return gt, PanopticMap(guess, ids, labels, name='prediction')


def test_random_maps_against_the_definition():
    seen, pixels = set(), np.zeros(8, int)
    for seed in range(400):
        gt, pred = random_pair(seed)
        if not len(gt.ids):
            continue
        findings, errors, matching = analyze(gt, pred)
        direct = Definition(gt, pred)
        true = [direct.kind_of_gt(g) for g in range(len(gt.ids))]
        guess = [direct.kind_of_pred(p) for p in range(len(pred.ids))]
        assert [f.kind for f in findings] == true + guess, seed
        at_gt, at_pred = index_map(gt), index_map(pred)
        kinds = {(g, p): direct.kind_of_pixel(g - 1 if g else None, p - 1 if p else None)
                 for g, p in set(zip(at_gt.ravel().tolist(), at_pred.ravel().tolist()))}
        expected = [kinds[pair] for pair in zip(at_gt.ravel().tolist(), at_pred.ravel().tolist())]
        assert errors.ravel().tolist() == expected, seed
        # the counts of panoptic quality
        wrong = [f.kind not in NO_ERRORS for f in findings]
        assert wrong == [*matching.missed, *matching.wrong]
        for finding in findings:
            if finding.others:
                pair = (finding.position, finding.others[0])
                g, p = pair if finding.side == 'gt' else pair[::-1]
                assert finding.iou == pytest.approx(direct.iou(g, p))
                own = direct.true[g] if finding.side == 'gt' else direct.full[p]
                common = (direct.true[g] & direct.full[p]).sum()
                assert finding.share == pytest.approx(common / own.sum())
            assert describe(finding, gt, pred, CLASSES)
        seen |= {(f.side, f.kind) for f in findings}
        pixels += np.bincount(errors.ravel(), minlength=8)
    # the random maps have all kinds, so that the comparison above means something
    assert pixels.all()
    both = ('wrong_class', 'merged', 'split', 'near_miss', 'matched', 'ignored')
    assert seen == {(side, kind) for side in ('gt', 'pred') for kind in both} | {
        ('gt', 'missed'), ('pred', 'invented'), ('pred', 'duplicate')}
    assert {kind for _, kind in seen} | {'lost_in_fusion'} == set(SEGMENT_KINDS)


def test_no_segments():
    empty = PanopticMap(np.zeros((2, 3), int), [], [])
    some = segments('aaa aaa', {})
    findings, errors, _ = analyze(some, empty)
    assert [f.kind for f in findings] == ['missed']
    assert (errors == PixelKind.MISSED).all()
    findings, errors, _ = analyze(empty, some)
    assert [f.kind for f in findings] == ['ignored']
    assert (errors == PixelKind.VOID).all()
    findings, errors, _ = analyze(empty, empty)
    assert not findings and (errors == PixelKind.VOID).all()
