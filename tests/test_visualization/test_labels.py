"""Placing of labels: inside the segment, inside the image, never on one another."""
import numpy as np
import pytest

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
