"""Why segments are missing: each reason by hand, and random ones against a direct definition."""
import numpy as np
import pytest
import torch

from mmpanseg.analysis.lost_segments import REASONS, find_lost
from mmpanseg.evaluation.panoptic_metric import predicted_segments
from mmpanseg.evaluation.panoptic_quality import (
    PanopticDataError,
    PanopticMap,
    match_segments,
    segment_overlaps,
)
from mmpanseg.models.fusion_heads import (
    HeuristicFusionHead,
    KMaXFusionHead,
    MaskWiseFusionHead,
    PixelwiseFusionHead,
)
from mmpanseg.models.inference.augmented_views import merge_views
from mmpanseg.models.inference.test_cfg import OutputOptions
from mmpanseg.structures.mask_logits import DenseMaskLogits

COUNTS = dict(num_things_classes=2, num_stuff_classes=2)
CLASSES = ('car', 'truck', 'sky', 'road')
SIZE = (10, 20)
META = [dict(batch_input_shape=SIZE, img_shape=SIZE, ori_shape=SIZE)]


def probs(**scores: float) -> list[float]:
    """Class probabilities; the rest is "no object"."""
    row = [scores.get(name, 0.0) for name in CLASSES]
    return [*row, 1 - sum(row)]


def view_of(head, *queries: tuple[tuple[int, int], dict]):
    """A view of queries that have the columns from .. to, with these class probabilities."""
    masks = torch.full((1, len(queries), *SIZE), -20.0)
    for mask, ((start, stop), _) in zip(masks[0], queries):
        mask[:, start:stop] = 20.0
    logits = torch.tensor([[probs(**scores) for _, scores in queries]]).clamp(min=1e-9).log()
    view, = head.views(logits, DenseMaskLogits([masks]), META)
    return [view]


def truth(*columns: tuple[int, int, str]) -> PanopticMap:
    """Segments 1, 2, ... with the columns from .. to, and a class."""
    ids = np.zeros(SIZE, np.int32)
    for k, (start, stop, _) in enumerate(columns, 1):
        ids[:, start:stop] = k
    return PanopticMap(ids, np.arange(1, len(columns) + 1),
                       [CLASSES.index(name) for *_, name in columns], name='truth')


def explain(head, gt, *queries):
    lost, = find_lost(head, view_of(head, *queries), gt, [0], CLASSES)
    assert lost.position == 0 and lost.reason in REASONS
    return lost.reason, lost.query, round(lost.iou, 4), lost.text


PIXELWISE = PixelwiseFusionHead(**COUNTS)
GT = truth((0, 10, 'car'))


@pytest.mark.parametrize('head, gt, queries, expected', [
    # rules of the fusion
    (PIXELWISE, GT, [((0, 8), dict(car=0.41, truck=0.3)), ((0, 10), dict(truck=0.9))],
     ('lost_in_fusion', 0, 0.8, 'query 0 had it (IoU 0.80, car 0.41), but its class score 0.41 is '
      'too low for object_mask_thr 0.8')),
    (PIXELWISE, GT, [((0, 8), dict(car=0.41))],
     ('no_object', 0, 0.8, 'query 0 had it (IoU 0.80, car 0.41), but "no object" has the '
      'higher score (0.59 against 0.41)')),
    # a query that predicts an object comes first
    (PIXELWISE, GT, [((0, 8), dict(car=0.41)), ((0, 7), dict(car=0.51))],
     ('lost_in_fusion', 1, 0.7, 'query 1 had it (IoU 0.70, car 0.51), but its class score 0.51 is '
      'too low for object_mask_thr 0.8')),
    (PIXELWISE, GT, [((0, 8), dict(car=0.81)), ((3, 8), dict(truck=0.9))],
     ('lost_in_fusion', 0, 0.8, 'query 0 had it (IoU 0.80, car 0.81), but it wins an area of only '
      '0.38 of its mask, too little for iou_thr 0.8')),
    (HeuristicFusionHead(**COUNTS, mask_overlap=0.2), GT,
     [((0, 8), dict(car=0.81)), ((3, 8), dict(truck=0.9))],
     ('lost_in_fusion', 0, 0.8, 'query 0 had it (IoU 0.80, car 0.81), but earlier things cover '
      '0.62 of its mask, more than mask_overlap 0.2')),
    (MaskWiseFusionHead(**COUNTS, t_cnf=0.5), GT, [((0, 8), dict(car=0.41, truck=0.3))],
     ('lost_in_fusion', 0, 0.8, 'query 0 had it (IoU 0.80, car 0.41), but its confidence is 0.41 '
      'at most, too low for t_cnf 0.5')),
    (KMaXFusionHead(**COUNTS, area_limit=(99, 0)), GT,
     [((0, 8), dict(car=0.9)), ((8, 20), dict(sky=0.9))],
     ('lost_in_fusion', 0, 0.8, 'query 0 had it (IoU 0.80, car 0.90), but its segment has 80 '
      'pixels, too few for area_limit 99')),
    # kept, but changed
    (PixelwiseFusionHead(**COUNTS, iou_thr=0.3), GT,
     [((0, 8), dict(car=0.81)), ((3, 8), dict(truck=0.9))],
     ('lost_in_fusion', 0, 0.8, 'query 0 had it (IoU 0.80, car 0.81), but its segment lost or '
      'gained too many pixels to match')),
    (PIXELWISE, truth((0, 10, 'sky')), [((10, 20), dict(sky=0.9)), ((0, 9), dict(sky=0.85))],
     ('lost_in_fusion', 1, 0.9, 'query 1 had it (IoU 0.90, sky 0.85), but its pixels are merged '
      'into the stuff segment of another query, which does not match')),
    # the class
    (PIXELWISE, GT, [((0, 8), dict(car=0.1, truck=0.85)), ((0, 4), dict(car=0.9))],
     ('other_class', 0, 0.8, 'query 0 had it, but as another class (IoU 0.80, truck 0.85, car '
      '0.10); it wins an area of only 0.50 of its mask, too little for iou_thr 0.8')),
    # the mask; void is no part of it
    (PIXELWISE, GT, [((8, 20), dict(truck=0.9)), ((6, 10), dict(car=0.5))],
     ('nearly_proposed', 1, 0.4, 'query 1 has the most similar mask (IoU 0.40, car 0.50); its '
      'class score 0.50 is too low for object_mask_thr 0.8')),
    (PIXELWISE, truth((0, 10, 'car'), (10, 20, 'sky')),
     [((9, 20), dict(car=0.9)), ((4, 20), dict(truck=0.9))],
     ('nearly_proposed', 1, 0.3, 'query 1 has the most similar mask (IoU 0.30, truck 0.90, car '
      '0.00); it wins an area of only 0.31 of its mask, too little for iou_thr 0.8')),
    (PIXELWISE, GT, [((8, 20), dict(car=0.9)), ((9, 10), dict(truck=0.9))],
     ('never_proposed', 0, 0.2, 'no mask is similar; the best is of query 0 (IoU 0.20, car '
      '0.90)')),
    (PIXELWISE, GT, [((12, 20), dict(car=0.9))],
     ('never_proposed', None, 0.0, 'no mask of a query overlaps it')),
    (PIXELWISE, GT, [], ('never_proposed', None, 0.0, 'no mask of a query overlaps it')),
])
def test_each_reason(head, gt, queries, expected):
    if not queries:
        view = view_of(head, ((0, 1), dict(car=0.5)))[0]
        empty = [view._replace(probs=view.probs[:0])]
        empty[0].masks.broken = empty[0].masks.broken[:0]
        lost, = find_lost(head, empty, gt, [0], CLASSES)
        assert (lost.reason, lost.query, lost.iou, lost.text) == expected and lost.fate is None
        return
    assert explain(head, gt, *queries) == expected


def test_nothing_is_computed_without_a_missing_segment():
    assert find_lost(PIXELWISE, None, GT, [], CLASSES) == []


def test_bad_ground_truth():
    views = view_of(PIXELWISE, ((0, 8), dict(car=0.41)))
    other = PanopticMap(np.ones((5, 5), int), [1], [0], name='truth 7')
    with pytest.raises(PanopticDataError, match=r'truth 7 has the size \(5, 5\), masks of the '
                                                r'queries have \(10, 20\)'):
        find_lost(PIXELWISE, views, other, [0], CLASSES)
    absent = PanopticMap(GT.map, [1, 9], [0, 0], name='truth 8')
    with pytest.raises(PanopticDataError, match='segment 9 of truth 8 has no pixel'):
        find_lost(PIXELWISE, views, absent, [1], CLASSES)


def scene(generator: np.random.Generator) -> PanopticMap:
    """Rectangles of classes before void, and one crowd."""
    ids = np.zeros((24, 30), np.int64)
    for k in range(1, 8):
        y, x = generator.integers(0, 20), generator.integers(0, 24)
        ids[y:y + generator.integers(3, 14), x:x + generator.integers(3, 16)] = 10 * k
    listed = np.setdiff1d(np.unique(ids), 0)
    return PanopticMap(ids, listed, generator.integers(0, 4, len(listed)),
                       crowd=listed == 30, name='truth')


@pytest.mark.parametrize('head', [
    PixelwiseFusionHead(**COUNTS, object_mask_thr=0.4),
    MaskWiseFusionHead(**COUNTS, t_cnf=0.3), HeuristicFusionHead(**COUNTS, stuff_area_limit=60),
    KMaXFusionHead(**COUNTS, score_thr=0.5, mask_thr=0.2, overlap_thr=0.8)],
    ids=lambda head: type(head).__name__)
@pytest.mark.parametrize('count', [1, 2], ids=['one view', 'two views'])
def test_random_scenes_against_the_definition(head, count):
    seen = set()
    for seed in range(24):
        generator = np.random.default_rng(seed)
        gt = scene(generator)
        shapes = [gt.map == i for i in generator.choice(gt.ids, 9)]
        # masks like segments, blurred by the lower resolution and shifted
        masks = np.stack([np.roll(shape, generator.integers(-3, 4, 2), (0, 1))[::2, ::2]
                          for shape in shapes]) * 16.0 - 8
        scores = generator.normal(size=(9, 5)) * 2
        views = []
        for _ in range(count):
            noisy = torch.tensor(masks + 3 * generator.normal(size=masks.shape)).float()
            views += head.views(torch.tensor(scores[None]).float(),
                                DenseMaskLogits([noisy[None]]),
                                [dict(batch_input_shape=(24, 32), img_shape=(24, 30),
                                      ori_shape=(24, 30))])
        result = head.fuse(views, OutputOptions())['pred_panoptic_seg']
        pred = predicted_segments(dict(pred_panoptic_seg=dict(
            sem_seg=result.sem_seg, segments_info=result.segments_info)), 4)
        matching = match_segments(gt, pred, segment_overlaps(gt, pred, 'image'), 'image')
        positions = np.flatnonzero(matching.missed).tolist()
        found = find_lost(head, views, gt, positions, CLASSES)
        assert [lost.position for lost in found] == positions

        fates = head.fates(views)
        merged, full = merge_views(views)
        inside = torch.cat([*full.chunks(torch.arange(9))]).numpy() > full.activation.threshold
        for lost in found:
            shape, label = gt.map == gt.ids[lost.position], gt.labels[lost.position]
            ious = [(mask & shape).sum() / ((mask & (gt.map > 0)) | shape).sum()
                    for mask in inside]
            is_own = [merged[query, :4].argmax() == label for query in range(9)]
            own = [iou * is_own[query].item() for query, iou in enumerate(ious)]
            objects = [iou * (merged[query, 4] <= merged[query, :4].max()).item()
                       for query, iou in enumerate(own)]
            if isinstance(head, KMaXFusionHead):  # ignores "no object"
                objects = own
            if max(objects) > 0.5:
                expected, of = 'lost_in_fusion', objects
            elif max(own) > 0.5:
                expected, of = 'no_object', own
            elif max(ious) > 0.5:
                expected, of = 'other_class', ious
            elif max(ious) > 0.25:
                expected, of = 'nearly_proposed', own if max(own) > 0.25 else ious
            else:
                expected, of = 'never_proposed', ious
            assert lost.reason == expected
            assert lost.iou == pytest.approx(max(of), abs=1e-12)
            if lost.query is not None:
                assert of[lost.query] == max(of) and lost.fate == fates[lost.query]
                assert f'query {lost.query} ' in lost.text and f'{max(of):.2f}' in lost.text
            seen.add(expected)
    assert seen | {'no_object'} == set(REASONS)
