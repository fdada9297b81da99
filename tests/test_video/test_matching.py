"""Tracks of moving squares, against a hand-made table."""
import numpy as np
import pytest

from mmpanseg.results import Result
from mmpanseg.structures.encoded_masks import encode_mask
from mmpanseg.video import SegmentTracker
from mmpanseg.visualization import instance_shade

CLASSES, NUM_THINGS = ('cat', 'dog', 'sky', 'road'), 2
PALETTE = [(200, 60, 60), (60, 60, 200), (90, 150, 220), (90, 160, 70)]
CAT, DOG, SKY, ROAD = range(4)
# per frame: class and left, top of squares of 20 pixels, in the order of the model, which changes
FRAMES = [
    [(CAT, 10, 10), (CAT, 60, 10), (DOG, 10, 50)],
    [(DOG, 14, 50), (CAT, 64, 12), (CAT, 14, 12)],  # all move by 4
    [(CAT, 18, 14), (CAT, 68, 14), (DOG, 18, 50), (CAT, 100, 60)],  # a new cat
    [(CAT, 100, 60), (DOG, 68, 14), (CAT, 22, 16)],  # a cat becomes a dog; the dog leaves
    [(CAT, 100, 60), (CAT, 70, 16), (CAT, 26, 18), (DOG, 18, 50)],  # and back
    [(CAT, 60, 60)]]  # the last one jumps too far
# tracks of the squares above, numbered in the order of appearance, from left to right in a frame
EXPECTED = [[1, 4, 2], [2, 4, 1], [1, 4, 2, 5], [5, 6, 1], [5, 8, 1, 7], [9]]
# sky is above: in the middle of the first frame, between the cats
SKY_TRACK = 3


def panoptic(squares, sky=True):
    """Result of a frame: squares before sky, ids in the order of the list, sky last."""
    ids = np.full((96, 128), len(squares) + 1 if sky else 0, dtype=np.int32)
    for number, (_, left, top) in enumerate(squares):
        ids[top:top + 20, left:left + 20] = number + 1
    infos = [dict(id=number + 1, label=label, score=0.9)
             for number, (label, _, _) in enumerate(squares)]
    if sky:
        infos.append(dict(id=len(squares) + 1, label=SKY, score=0.8))
    return Result(ids.shape, CLASSES, NUM_THINGS, panoptic=(ids, infos), palette=PALETTE)


def instances(squares):
    """The same squares as masks that may overlap."""
    masks = np.zeros((len(squares), 96, 128), dtype=bool)
    for mask, (_, left, top) in zip(masks, squares):
        mask[top:top + 20, left:left + 20] = True
    return Result((96, 128), CLASSES, NUM_THINGS, palette=PALETTE, instances=(
        [label for label, _, _ in squares], [0.9] * len(squares), masks, None))


def tracks_of(tracker, result):
    found = tracker.update(result)
    return [found[segment.id].id for segment in result.segments]


def test_table():
    tracker = SegmentTracker(PALETTE)
    for squares, expected in zip(FRAMES, EXPECTED):
        assert tracks_of(tracker, panoptic(squares)) == [*expected, SKY_TRACK]
    assert tracker.count == 9


def test_overlapping_instances_have_the_same_table():
    tracker = SegmentTracker(PALETTE)
    for squares, expected in zip(FRAMES, EXPECTED):
        # there is no sky, so that later tracks have one number less
        assert tracks_of(tracker, instances(squares)) == [
            number - (number > SKY_TRACK) for number in expected]


def test_run_lengths_and_masks_are_matched():
    squares = [(CAT, 10, 10), (CAT, 14, 14)]  # IoU with itself 1, with the other one 0.47
    masks = np.array([instances(squares).instances[k].mask() for k in range(2)])
    coded = Result((96, 128), CLASSES, NUM_THINGS, instances=(
        [CAT, CAT], [0.9, 0.8], [encode_mask(mask) for mask in masks[::-1]], None))
    tracker = SegmentTracker(PALETTE)
    assert tracks_of(tracker, instances(squares)) == [1, 2]
    assert tracks_of(tracker, coded) == [2, 1]


def test_the_largest_sum_is_chosen():
    """Greedy matching would give the first pair to the best one and leave a segment over."""
    tracker = SegmentTracker(PALETTE)
    assert tracks_of(tracker, instances([(CAT, 10, 10), (CAT, 22, 10)])) == [1, 2]
    # IoU: 14 / 26 with track 1, 14 / 26 with track 2; and 10 / 30 with track 1 only
    assert tracks_of(tracker, instances([(CAT, 16, 10), (CAT, 10, 20)])) == [2, 1]


@pytest.mark.parametrize('shift, min_iou, same', [
    (10, 0.33, True), (10, 0.34, False), (0, 1, True), (1, 1, False)])
def test_threshold(shift, min_iou, same):
    """Squares of 20 pixels: 10 apart they share a third of their union."""
    tracker = SegmentTracker(PALETTE, min_iou)
    tracker.update(panoptic([(CAT, 10, 10)], sky=False))
    assert tracks_of(tracker, panoptic([(CAT, 10 + shift, 10)], sky=False)) == [1 if same else 2]


def test_colors_are_constant_and_differ_in_a_class():
    tracker = SegmentTracker(PALETTE)
    first = tracker.update(panoptic(FRAMES[0]))
    second = tracker.update(panoptic(FRAMES[1]))
    assert {track.id: track.color for track in first.values()} == {
        track.id: track.color for track in second.values()} == {
        1: PALETTE[CAT], 2: PALETTE[DOG], 3: PALETTE[SKY], 4: instance_shade(PALETTE[CAT], 1)}


def test_frames_without_segments_and_of_another_size():
    tracker = SegmentTracker(PALETTE)
    empty = Result((96, 128), CLASSES, NUM_THINGS,
                   panoptic=(np.zeros((96, 128), dtype=np.int32), []))
    assert tracker.update(empty) == {}
    assert tracks_of(tracker, panoptic([(CAT, 10, 10)])) == [1, 2]
    assert tracker.update(empty) == {}
    # a thing that was hidden for a frame is a new one, the sky is not
    assert tracks_of(tracker, panoptic([(CAT, 10, 10)])) == [3, 2]
    small = Result((20, 20), CLASSES, NUM_THINGS, panoptic=(
        np.ones((20, 20), dtype=np.int32), [dict(id=1, label=CAT, score=0.5)]))
    assert tracks_of(tracker, small) == [4]


def test_semantic_maps_have_one_track_for_each_class():
    labels = np.full((96, 128), SKY)
    labels[60:] = ROAD
    tracker = SegmentTracker()
    for _ in range(2):
        labels = np.roll(labels, 3, 0)
        result = Result((96, 128), CLASSES, NUM_THINGS, semantic=labels)
        found = tracker.update(result)
        assert {track.label for track in found.values()} == {SKY, ROAD}
    assert tracker.count == 2


@pytest.mark.parametrize('min_iou', [0, 1.5])
def test_threshold_is_checked(min_iou):
    with pytest.raises(ValueError, match=f'min_iou must be above 0 and at most 1, got {min_iou}'):
        SegmentTracker(min_iou=min_iou)


def test_the_palette_of_tracks():
    from mmpanseg.visualization import find_palette, instance_shade
    ids = np.zeros((96, 128), int)
    ids[10:40, 10:40], ids[10:40, 60:90] = 1, 2
    result = Result(ids.shape, CLASSES, NUM_THINGS, palette=PALETTE, panoptic=(
        ids, [dict(id=1, label=0, score=1.0), dict(id=2, label=0, score=1.0)]))
    for palette in ('colorblind', {CLASSES[0]: 'teal'}, None):
        color = find_palette(palette, CLASSES, len(CLASSES), PALETTE)[0]
        tracks = SegmentTracker(palette).update(result)
        assert tracks[1].color == tuple(color)
        assert tracks[2].color == instance_shade(color, 1, palette == 'colorblind')
