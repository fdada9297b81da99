"""Errors planted one at a time in real panoptic images: each is found as itself, and no other."""
import json

import cv2
import numpy as np
import pytest

from mmpanseg.evaluation.panoptic_quality import PanopticMap, match_segments, segment_overlaps
from mmpanseg.evaluation.segment_errors import SegmentFinding, error_map, find_errors
from mmpanseg.structures import read_panoptic_png
from mmpanseg.structures.error_kinds import NO_ERRORS, PixelKind

NEW = 1 << 20
ABSENT_CLASS = 79


def read_images(shared) -> list[PanopticMap]:
    folder = shared / 'coco_panoptic_sample'
    content = json.loads((folder / 'panoptic_examples.json').read_text())
    label_of = {category['id']: label for label, category in enumerate(content['categories'])}
    images = []
    for annotation in content['annotations']:
        infos = annotation['segments_info']
        images.append(PanopticMap(
            read_panoptic_png(folder / 'panoptic_examples' / annotation['file_name']),
            [info['id'] for info in infos], [label_of[info['category_id']] for info in infos],
            [info['iscrowd'] for info in infos], name=annotation['file_name']))
    return images


@pytest.fixture(scope='module')
def images(shared) -> list[PanopticMap]:
    if not (shared / 'data/coco_panoptic_sample').is_dir():
        pytest.skip(f'no COCO sample in {shared}/data')
    return read_images(shared / 'data')


def analyze(gt: PanopticMap, pred: PanopticMap) -> tuple[dict, dict, np.ndarray]:
    """Findings of both sides by id, and the error map."""
    overlap = segment_overlaps(gt, pred, 'image')
    matching = match_segments(gt, pred, overlap, 'image')
    findings = find_errors(gt, pred, overlap, matching)
    sides = {side: {int(own.ids[f.position]): f for f in findings if f.side == side}
             for side, own in (('gt', gt), ('pred', pred))}
    return sides['gt'], sides['pred'], error_map(gt, pred, findings, matching)


def errors_of(found: dict[int, SegmentFinding]) -> dict[int, str]:
    return {i: f.kind for i, f in found.items() if f.kind not in NO_ERRORS}


def changed(gt: PanopticMap, grid: np.ndarray, labels: dict | None = None) -> PanopticMap:
    """A prediction with the labels of the ground truth, except those given."""
    of_id = {**dict(zip(gt.ids.tolist(), gt.labels.tolist())), **(labels or {})}
    ids = np.setdiff1d(grid, gt.void).tolist()
    return PanopticMap(grid, ids, [of_id[i] for i in ids])


def scored(gt: PanopticMap, smallest: int = 1) -> list[tuple[int, int, np.ndarray]]:
    """(id, label, mask) of the segments that are no crowd."""
    return [(int(i), int(label), gt.map == i)
            for i, label, crowd in zip(gt.ids, gt.labels, gt.crowd)
            if not crowd and (gt.map == i).sum() >= smallest]


def test_a_copy_has_no_errors(images):
    for gt in images:
        true, guess, errors = analyze(gt, changed(gt, gt.map))
        assert not errors_of(true) and not errors_of(guess)
        assert set(np.unique(errors)) <= {PixelKind.RIGHT, PixelKind.VOID}


def test_swapped_class(images):
    for gt in images:
        for segment, _, mask in scored(gt):
            true, guess, errors = analyze(gt, changed(gt, gt.map, {segment: ABSENT_CLASS}))
            assert errors_of(true) == errors_of(guess) == {segment: 'wrong_class'}
            np.testing.assert_array_equal(errors == PixelKind.WRONG_CLASS, mask)


def test_deleted(images):
    for gt in images:
        for segment, _, mask in scored(gt):
            true, guess, errors = analyze(gt, changed(gt, np.where(mask, 0, gt.map)))
            assert errors_of(true) == {segment: 'missed'} and not errors_of(guess)
            np.testing.assert_array_equal(errors == PixelKind.MISSED, mask)


def test_split(images):
    for gt in images:
        for segment, label, mask in scored(gt, smallest=20):
            rows, columns = np.nonzero(mask)
            grid = gt.map.copy()
            for part, places in enumerate(np.array_split(np.argsort(columns, kind='stable'), 3)):
                grid[rows[places], columns[places]] = NEW + part
            parts = {NEW + part: label for part in range(3)}
            true, guess, errors = analyze(gt, changed(gt, grid, parts))
            assert errors_of(true) == {segment: 'split'}
            assert errors_of(guess) == dict.fromkeys(parts, 'split')
            np.testing.assert_array_equal(errors == PixelKind.SPLIT, mask)


def test_merged(images):
    pairs = 0
    for gt in images:
        segments = scored(gt)
        for (first, label, mask), (second, other, other_mask) in zip(segments, segments[1:]):
            if label != other:
                continue
            pairs += 1
            grid = np.where(other_mask, first, gt.map)
            true, guess, errors = analyze(gt, changed(gt, grid))
            sizes = mask.sum(), other_mask.sum()
            lost = {i for i, size in zip((first, second), sizes) if 2 * size <= sum(sizes)}
            assert errors_of(true) == dict.fromkeys(lost, 'merged')
            # a larger segment is still matched, and then the prediction is no false positive
            assert errors_of(guess) == ({first: 'merged'} if len(lost) == 2 else {})
            np.testing.assert_array_equal(errors == PixelKind.MERGED,
                                          mask & (first in lost) | other_mask & (second in lost))
            for segment in lost:
                assert true[segment].siblings == (
                    [i for i in gt.ids].index(first if segment == second else second), )
    assert pairs > 20


def test_eroded(images):
    kinds = set()
    for gt in images:
        for segment, _, mask in scored(gt, smallest=400)[::4]:
            eroded = mask.astype(np.uint8)
            while eroded.any():
                eroded = cv2.erode(eroded, np.ones((3, 3), np.uint8))
                iou = eroded.sum() / mask.sum()
                true, guess, errors = analyze(
                    gt, changed(gt, np.where(mask & (eroded == 0), 0, gt.map)))
                expected = ('matched' if iou > 0.5 else 'near_miss' if iou > 0.25 else 'missed')
                kinds.add(expected)
                assert true[segment].kind == expected
                if eroded.any():
                    assert true[segment].iou == pytest.approx(iou)
                    assert guess[segment].kind == expected.replace('missed', 'invented')
                lost = PixelKind.BOUNDARY if expected == 'matched' else PixelKind.MISSED
                assert set(errors[mask]) <= {PixelKind.RIGHT, lost}
                assert (errors[mask & (eroded == 0)] == lost).all()
    assert kinds == {'matched', 'near_miss', 'missed'}


def test_shifted(images):
    """Shifted further and further: first only the boundary is wrong, then it is a near miss."""
    for gt in images:
        stuff = np.isin(gt.map, gt.ids[gt.labels >= 80])
        segment, _, mask = max(scored(gt), key=lambda s: s[2].sum() if s[1] < 80 else 0)
        kinds = []
        for shift in range(0, 120, 4):
            moved = np.zeros_like(mask)
            moved[:, shift:] = mask[:, :mask.shape[1] - shift]
            moved &= stuff | mask  # not over another thing
            grid = np.where(moved, segment, np.where(mask, 0, gt.map))
            true, guess, errors = analyze(gt, changed(gt, grid))
            kind = true[segment].kind
            kinds.append(kind)
            if kind != 'matched':
                assert (errors[mask & moved] == PixelKind.MISSED).all()
            elif shift:
                assert (errors[mask & ~moved] == PixelKind.BOUNDARY).all()
        assert list(dict.fromkeys(kinds)) == ['matched', 'near_miss', 'missed']


def test_invented(images):
    for gt in images:
        ground = max(scored(gt), key=lambda s: s[2].sum())[2]
        inner = np.pad(ground[1:-1, 1:-1], 1).astype(np.uint8)
        distance = cv2.distanceTransform(inner, cv2.DIST_L2, 5)
        row, column = np.unravel_index(distance.argmax(), distance.shape)
        grid = gt.map.copy()
        grid[row - 6:row + 7, column - 6:column + 7] = NEW
        true, guess, errors = analyze(gt, changed(gt, grid, {NEW: ABSENT_CLASS}))
        assert not errors_of(true) and errors_of(guess) == {NEW: 'invented'}
        np.testing.assert_array_equal(errors == PixelKind.INVENTED, grid == NEW)


def test_second_segment_on_an_object(images):
    for gt in images:
        for _, label, mask in scored(gt, smallest=100):
            rows, columns = np.nonzero(mask)
            grid = gt.map.copy()
            grid[rows[:len(rows) // 4], columns[:len(rows) // 4]] = NEW
            true, guess, errors = analyze(gt, changed(gt, grid, {NEW: label}))
            assert not errors_of(true) and errors_of(guess) == {NEW: 'duplicate'}
            np.testing.assert_array_equal(errors == PixelKind.SPLIT, grid == NEW)
