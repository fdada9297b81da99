"""Void, crowds, boxes and outlines on drawings."""
import numpy as np
import pytest

from mmpanseg.visualization import DrawnSegment, Marks, draw_panoptic
from mmpanseg.visualization.label_drawing import LabelPlacer, box_size
from mmpanseg.visualization.markings import hatch

GRAY = np.full((120, 160, 3), 128, np.uint8)
PLAIN = dict(min_side=1, with_labels=False)


def make_map():
    ids = np.full((120, 160), 1)
    ids[:40] = 0
    ids[60:100, 100:140] = 2
    return ids, [DrawnSegment(1, 0, False), DrawnSegment(2, 1, True)]


def test_void_is_hatched_and_nothing_else():
    ids, segments = make_map()
    before = draw_panoptic(GRAY, ids, segments, **PLAIN)
    after = draw_panoptic(GRAY, ids, segments, marks=Marks(void=True), **PLAIN)
    changed = (before != after).any(2)
    assert (changed == (ids == 0)).all()
    void = after[:40].astype(int)
    # stripes: darker than the picture, and lighter; along a diagonal the value stays
    assert void.min() < 100 and void.max() > 135
    np.testing.assert_array_equal(void[1:20, :150], void[:19, 1:151])


def test_crowds_have_a_grid_and_a_name():
    ids, segments = make_map()
    crowd = [segments[0], DrawnSegment(2, 1, True, is_crowd=True)]
    before = draw_panoptic(GRAY, ids, segments, **PLAIN)
    after = draw_panoptic(GRAY, ids, crowd, **PLAIN)
    changed = (before != after).any(2)
    assert changed[ids == 2].mean() > 0.1 and not changed[ids != 2].any()
    inside = changed[70:90, 110:130]
    # symmetric: lines in both directions
    assert inside.any(0).all() and inside.any(1).all()
    named = draw_panoptic(GRAY, ids, crowd, ['a', 'b'], min_side=800)
    assert (named != draw_panoptic(GRAY, ids, crowd, ['a', 'c'], min_side=800)).any()


def test_hatching_leaves_the_rest():
    canvas = GRAY.copy()
    hatch(canvas, np.zeros(GRAY.shape[:2], bool))
    np.testing.assert_array_equal(canvas, GRAY)


@pytest.mark.parametrize('min_side', [1, 320])
def test_boxes(min_side):
    ids, segments = make_map()
    boxes = {2: (90, 50, 150, 110)}
    before = draw_panoptic(GRAY, ids, segments, min_side=min_side, with_labels=False)
    after = draw_panoptic(GRAY, ids, segments, min_side=min_side, with_labels=False,
                          marks=Marks(boxes=boxes))
    changed = (before != after).any(2)
    scale = after.shape[0] // 120
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    # the dark line around the light one is three pixels wide
    assert abs(rows[0] - 50 * scale) <= 2 and abs(rows[-1] - (110 * scale - 1)) <= 2
    assert abs(columns[0] - 90 * scale) <= 2 and abs(columns[-1] - (150 * scale - 1)) <= 2
    # the line is lighter than what it covers
    assert after[80 * scale, 90 * scale].mean() > before[80 * scale, 90 * scale].mean()
    assert not changed[55 * scale:105 * scale, 95 * scale:145 * scale].any()


def test_outlines_of_hidden_parts():
    ids, segments = make_map()
    outline = np.array([(10, 50), (50, 50), (50, 90), (10, 90)])
    before = draw_panoptic(GRAY, ids, segments, **PLAIN)
    after = draw_panoptic(GRAY, ids, segments, marks=Marks(hidden={2: [outline]}), **PLAIN)
    changed = (before != after).any(2)
    assert changed[50, 10:51].all() and changed[50:91, 10].all()
    assert not changed[55:86, 15:46].any()


def test_names_beside_small_things():
    ids = np.full((200, 300), 1)
    ids[100:104, 150:154] = 2
    placer = LabelPlacer(ids, 14)
    assert placer.place(2, 'a long name', (200, 0, 0), 0.28) is None
    box = (150, 100, 154, 104)
    label = placer.place_beside(box, 'a long name', (200, 0, 0))
    width, height = box_size('a long name', label.font_size)
    assert label.y + height / 2 <= 100 and label.x - width / 2 == 150
    second = placer.place_beside(box, 'a long name', (200, 0, 0))
    assert second.y - height / 2 >= 104  # the place above is taken
    assert placer.place_beside((0, 0, 300, 200), 'x', (0, 0, 0)) is None
