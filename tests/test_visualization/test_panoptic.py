"""The overlay's pixels, from hand-made maps."""
import cv2
import numpy as np
import pytest

from mmpanseg.visualization import DrawnSegment, draw_panoptic, segment_colors, side_by_side

RED, GREEN = (200, 30, 30), (30, 160, 60)


@pytest.fixture
def scene():
    """Left half void, right half a thing above and stuff below; a noisy image."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (120, 160, 3), dtype=np.uint8)
    pan_map = np.full((120, 160), 99)
    pan_map[:60, 80:] = 1001
    pan_map[60:, 80:] = 1
    return image, pan_map, [DrawnSegment(1001, 0, True), DrawnSegment(1, 1, False)]


def draw(scene, **kwargs):
    return draw_panoptic(*scene, palette=[RED, GREEN], min_side=0, **kwargs)


def test_void_is_untouched(scene):
    np.testing.assert_array_equal(draw(scene)[:, :80], scene[0][:, :80])


def test_tint_away_from_borders(scene):
    image = scene[0]
    drawn = draw(scene, alpha=0.5).astype(float)
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]
    muted = 0.35 * image + 0.65 * gray
    np.testing.assert_allclose(drawn[10:50, 90:150],
                               (0.5 * muted + 0.5 * np.array(RED))[10:50, 90:150], atol=0.6)
    np.testing.assert_allclose(drawn[70:110, 90:150],
                               (0.5 * muted + 0.5 * np.array(GREEN))[70:110, 90:150], atol=0.6)


def test_outline_runs_along_the_border(scene):
    plain = (np.full_like(scene[0], 128), *scene[1:])
    drawn = draw(plain).astype(int)
    line = drawn[58:62, 100:150].max(axis=(0, 2))
    assert (line > 200).all()
    # A dark seam beside the light line, then the tint again.
    column = drawn[40:80, 120].sum(-1)
    assert column[:19].min() < column[0] and column[21:].min() < column[-1]
    assert (column[:15] == column[0]).all() and (column[25:] == column[-1]).all()


def test_no_segments_leave_the_image_as_it_is(scene):
    image, pan_map, _ = scene
    np.testing.assert_array_equal(draw_panoptic(image, pan_map, [], min_side=0), image)


def test_small_images_are_enlarged_with_straight_borders():
    image = np.zeros((48, 64, 3), dtype=np.uint8)
    pan_map = np.zeros((48, 64), dtype=int)
    pan_map[:, 32:] = 1
    drawn = draw_panoptic(image, pan_map, [DrawnSegment(0, 0, False), DrawnSegment(1, 1, False)],
                          palette=[RED, GREEN], min_side=640)
    assert drawn.shape == (480, 640, 3)
    assert (drawn[:, :310, 0] > drawn[:, :310, 1]).all()
    assert (drawn[:, 330:, 0] < drawn[:, 330:, 1]).all()


def test_label_is_written_in_its_segment(scene):
    without, with_text = draw(scene), draw(scene, classes=['car', 'road'])
    rows, columns = np.nonzero((without != with_text).any(-1))
    assert len(rows) > 0 and columns.min() >= 70
    assert any(rows < 60) and any(rows > 60)


def test_instances_are_shaded_from_left_to_right():
    pan_map = np.zeros((10, 30), dtype=int)
    pan_map[:, 20:], pan_map[:, :10] = 1001, 2001
    things = [DrawnSegment(1001, 1, True), DrawnSegment(2001, 1, True)]
    colors = segment_colors(pan_map, things, [RED, GREEN])
    assert colors[2001] == GREEN and colors[1001] != GREEN
    # The order of the list, and so of a prediction's queries, does not matter.
    assert colors == segment_colors(pan_map, things[::-1], [RED, GREEN])


def test_errors_say_what_does_not_fit(scene):
    image, pan_map, segments = scene
    with pytest.raises(ValueError, match='resize one of them'):
        draw_panoptic(image[:50], pan_map, segments)
    with pytest.raises(ValueError, match='palette has 1 entries'):
        draw_panoptic(image, pan_map, segments, palette=[RED])
    with pytest.raises(ValueError, match='classes has 1 entries'):
        draw_panoptic(image, pan_map, segments, classes=['car'])


def test_side_by_side_keeps_the_pictures():
    one = np.full((100, 150, 3), 10, dtype=np.uint8)
    two = np.full((100, 120, 3), 90, dtype=np.uint8)
    row = side_by_side([('image', one), ('prediction', two)])
    gutter = row.shape[1] - 150 - 120
    assert 0 < gutter < 20 and row.shape[0] > 100
    np.testing.assert_array_equal(row[:100, :150], one)
    np.testing.assert_array_equal(row[:100, -120:], two)
    assert (row[:, 150:150 + gutter] == 255).all()
    assert row[100:, :150].min() < 128
