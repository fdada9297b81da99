"""Placing of labels: inside the segment, inside the image, never on one another."""
import numpy as np
import pytest

from mmpanseg.visualization import DrawnSegment, draw_panoptic
from mmpanseg.visualization.color_vision import contrast
from mmpanseg.visualization.label_drawing import LabelPlacer, draw_labels


def box(label):
    return (label.x - label.width / 2, label.y - label.height / 2,
            label.x + label.width / 2, label.y + label.height / 2)


def test_label_lies_in_a_concave_segment():
    # A U: its centroid lies outside of it.
    pan_map = np.zeros((200, 200), dtype=int)
    pan_map[20:180, 20:180] = 1
    pan_map[0:150, 60:140] = 0
    label = LabelPlacer(pan_map, 10).place(1, 'ab', (0, 0, 0), 0.5)
    assert pan_map[int(label.y), int(label.x)] == 1


def test_label_goes_to_the_widest_place():
    rows, columns = np.mgrid[:200, :400]
    disc = (rows - 100) ** 2 + (columns - 320) ** 2 < 70 ** 2
    tail = (abs(rows - 100) < 12) & (columns > 10) & (columns < 320)
    label = LabelPlacer((disc | tail).astype(int), 10).place(1, 'ab', (0, 0, 0), 0.5)
    assert np.hypot(label.x - 320, label.y - 100) < 4


@pytest.mark.parametrize('shape', [(120, 160), (1500, 2000)])
def test_labels_do_not_overlap_or_leave_the_image(shape):
    height, width = shape
    rows, columns = np.mgrid[:height, :width]
    pan_map = rows * 6 // height * 8 + columns * 8 // width
    placer = LabelPlacer(pan_map, height // 12)
    labels = [placer.place(k, 'pedestrian', (0, 0, 0), 0.1) for k in range(48)]
    placed = [(k, label) for k, label in enumerate(labels) if label is not None]
    assert 4 < len(placed) < 48
    for k, label in placed:
        left, top, right, bottom = box(label)
        assert left >= 0 and top >= 0 and right <= width and bottom <= height
        assert pan_map[int(label.y), int(label.x)] == k
    for a, (_, first) in enumerate(placed):
        for _, second in placed[:a]:
            one, two = box(first), box(second)
            assert (one[0] >= two[2] or two[0] >= one[2] or one[1] >= two[3] or two[1] >= one[3])


def test_no_label_without_room():
    pan_map = np.zeros((100, 100), dtype=int)
    pan_map[50:54, 50:54] = 1
    placer = LabelPlacer(pan_map, 14)
    assert placer.place(1, 'pedestrian', (0, 0, 0), 0.3) is None
    assert placer.place(7, 'absent', (0, 0, 0), 0.3) is None


def test_drawing_changes_the_box_only():
    pan_map = np.ones((100, 200), dtype=int)
    label = LabelPlacer(pan_map, 14).place(1, 'sky', (70, 130, 180), 0.5)
    image = np.full((100, 200, 3), 200, dtype=np.uint8)
    drawn = draw_labels(image, [label])
    rows, columns = np.nonzero((drawn != image).any(-1))
    left, top, right, bottom = box(label)
    assert left - 1 <= columns.min() and columns.max() <= right + 1
    assert top - 1 <= rows.min() and rows.max() <= bottom + 1
    # Light letters on a dark ground.
    assert drawn.max() > 240 and drawn.min() < 100


@pytest.mark.parametrize('seed', range(40))
def test_labels_of_random_maps(seed):
    """At most one for each segment, no two on one another, all inside the picture."""
    rng = np.random.default_rng(seed)
    height, width = (150, 200) if seed % 4 == 0 else rng.integers(1, 500, 2)
    seeds = rng.integers(0, (height, width), (int(rng.integers(1, 40)), 2))
    rows, columns = np.mgrid[:height, :width]
    gaps = [(rows - y) ** 2 + (columns - x) ** 2 for y, x in seeds]
    pan_map = np.argmin(gaps, axis=0)
    placer = LabelPlacer(pan_map, int(rng.integers(8, 30)))
    names = ['a', 'car 87%', 'traffic light 100%']
    labels = [placer.place(k, names[k % 3], (0, 0, 0), 0.28) for k in range(len(seeds))]
    labels = [(k, label) for k, label in enumerate(labels) if label is not None]
    taken = np.zeros((height, width), int)
    for k, label in labels:
        left, top, right, bottom = box(label)
        assert left >= -1e-6 and top >= -1e-6 and right <= width and bottom <= height
        assert pan_map[int(label.y), int(label.x)] == k
        taken[int(np.ceil(top)):int(bottom), int(np.ceil(left)):int(right)] += 1
    assert taken.max(initial=0) <= 1


@pytest.mark.parametrize('color', [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0),
                                   (0, 0, 255), (255, 255, 0), (0, 255, 255), (255, 0, 255),
                                   (128, 128, 128), (250, 240, 180)])
@pytest.mark.parametrize('ground', [0, 128, 255])
def test_names_are_legible_on_any_color(color, ground):
    """White text has a contrast of 4.5, as WCAG asks for, on the box in every color and picture."""
    pan_map = np.ones((100, 200), dtype=int)
    label = LabelPlacer(pan_map, 16).place(1, 'sky', color, 0.5)
    drawn = draw_labels(np.full((100, 200, 3), ground, dtype=np.uint8), [label])
    place = drawn[int(label.y - label.height / 2) + 2, int(label.x)]  # box above the letters
    assert contrast(place, drawn.reshape(-1, 3)[drawn.sum(-1).argmax()] if ground == 0
                    else (255, 255, 255)) >= 4.5
    inside = drawn[int(label.y - label.height / 4):int(label.y + label.height / 4),
                   int(label.x - label.width / 4):int(label.x + label.width / 4)]
    assert inside.min(-1).max() > 240  # letters


def test_the_size_of_names():
    image, ids = np.full((600, 800, 3), 90, np.uint8), np.zeros((600, 800), int)

    def area(**options):
        drawn = draw_panoptic(image, ids, [DrawnSegment(0, 0, False)], ['sky'], style='mask',
                              **options)
        rows, columns = np.nonzero((drawn != drawn[0, 0]).any(-1))
        return len(rows) and (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    assert area(label_size=0) == area(with_labels=False) == 0
    assert area(label_size=2) == pytest.approx(4 * area(), rel=0.2)


@pytest.mark.parametrize('shape', [(150, 200), (4000, 6000)])
def test_names_on_small_and_large_pictures(shape):
    """Large enough to be read when the picture is 800 pixels wide, and not larger than needed."""
    ids = np.zeros(shape, np.uint8)
    ids[:, shape[1] // 2:] = 1
    drawn = draw_panoptic(np.full((*shape, 3), 255, np.uint8), ids,
                          [DrawnSegment(0, 0, False), DrawnSegment(1, 1, False)], ['sky', 'road'],
                          [(255, 0, 0), (0, 255, 0)], style='mask', line_width=0)
    dark = (drawn.max(-1) < 150)
    rows = np.flatnonzero(dark.any(1))
    height = (rows[-1] - rows[0] + 1) * 800 / drawn.shape[1]
    assert 16 < height < 40
    assert dark[:, :drawn.shape[1] // 2].any() and dark[:, drawn.shape[1] // 2:].any()
