"""Styles of pictures, pixel by pixel; equality with a plain implementation."""
import cv2
import numpy as np
import pytest

from mmpanseg.structures.map_segments import index_segments
from mmpanseg.visualization import DrawnSegment, Marks, draw_panoptic, segment_colors
from mmpanseg.visualization.blending import edges, lay, outline, tint
from mmpanseg.visualization.picture_files import write_picture

PALETTE = [(200, 30, 30), (30, 160, 60), (60, 80, 200)]
CLASSES = ('car', 'road', 'sky')


def random_scene(seed, height=97, width=131):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    ids = np.where(np.arange(height)[:, None] > 50, 7, 9) + np.zeros((1, width), int)
    ids[:, :8] = 0
    segments = [DrawnSegment(7, 1, False), DrawnSegment(9, 2, False)]
    for k in range(9):
        mask = np.zeros(ids.shape, np.uint8)
        center = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        cv2.ellipse(mask, center, (int(rng.integers(2, 25)), int(rng.integers(2, 25))), 20.0, 0,
                    360, 1, -1)
        ids[mask > 0] = 70000 + k
        segments.append(DrawnSegment(70000 + k, 0, True, 0.9))
    return image, ids, segments


def plain_tint(image, index, table, void, alpha):
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)[..., None]
    drawn = (1 - alpha) * (0.35 * image + 0.65 * gray) + alpha * table[index]
    return np.where(void[index][..., None], image, drawn.round().clip(0, 255).astype(np.uint8))


def plain_outline(canvas, index, void, is_thing, width):
    """All pixels, in single steps."""
    canvas = canvas.copy()
    thing_edge = edges(np.where(is_thing[index], index.astype(int), -1))
    for edge, share, dark, light in ((edges(index) & ~thing_edge, 0.75, 0.35, 0.5),
                                     (thing_edge, 1.0, 0.6, 0.95)):
        reach = share * width
        distance = cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_L2, 5) + 0.5
        distance = cv2.GaussianBlur(np.minimum(distance, 2 * reach + 3), (0, 0), 0.7)
        near = np.where(void[index], np.inf, distance)[..., None]
        blended = canvas.astype(np.float32)
        for half, tone, strength in ((1.4 * reach, 10.0, dark), (0.5 * reach, 255.0, light)):
            blended += strength * np.clip(half + 1 - near, 0, 1) * (tone - blended)
        canvas = blended.round().astype(np.uint8)
    return canvas


@pytest.mark.parametrize('seed', range(6))
def test_the_overlay_equals_a_plain_implementation(seed):
    image, ids, segments = random_scene(seed)
    alpha = (0.55, 0.0, 1.0, 0.31, 0.5, 0.77)[seed]
    values, index = index_segments(ids)
    colors = segment_colors(ids, segments, PALETTE)
    table = np.array([colors.get(int(v), (0, 0, 0)) for v in values], np.float32)
    void = values == 0
    is_thing = values >= 70000
    tinted = plain_tint(image, index, table, void, alpha)
    np.testing.assert_array_equal(tint(image, index, table, void, alpha), tinted)
    for width in (1.0, 3.3):
        expected = plain_outline(tinted, index, void, is_thing, width)
        drawn = tinted.copy()
        outline(drawn, index, void, is_thing, width)
        np.testing.assert_array_equal(drawn, expected)
        np.testing.assert_array_equal(draw_panoptic(
            image, ids, segments, palette=PALETTE, alpha=alpha, min_side=0, line_width=width),
            expected)


@pytest.mark.parametrize('values', [[3, 900000, -5], [0, 1], [7], list(range(300))])
def test_numbers_of_segments(values):
    ids = np.random.default_rng(0).choice(values, (20, 31)).astype(np.int64)
    expected, inverse = np.unique(ids, return_inverse=True)
    found, index = index_segments(ids)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(index, inverse.reshape(ids.shape))
    assert index.dtype == (np.uint8 if len(expected) <= 256 else np.uint16)
    assert index_segments(ids[:0])[1].shape == (0, 31)


def test_instances_are_numbered_by_their_mean_column():
    """The columns that a segment occurs in, each counted once."""
    _, ids, segments = random_scene(3)
    things = [s for s in segments if s.is_thing]
    expected = sorted(things, key=lambda s: (np.flatnonzero(
        (ids == s.id).any(0)).mean() if (ids == s.id).any() else 0.0, s.id))
    from mmpanseg.visualization import instance_shade
    assert segment_colors(ids, things, PALETTE) == {
        s.id: instance_shade(PALETTE[0], number) for number, s in enumerate(expected)}


def test_masks_have_the_exact_colors_on_black():
    image, ids, segments = random_scene(0)
    drawn = draw_panoptic(image, ids, segments, CLASSES, PALETTE, style='mask', min_side=0,
                          line_width=0, label_size=0)
    colors = segment_colors(ids, segments, PALETTE)
    for value in np.unique(ids):
        assert (drawn[ids == value] == colors.get(int(value), (0, 0, 0))).all()


def test_transparent_pictures_have_only_the_segments():
    image, ids, segments = random_scene(1)
    options = dict(palette=PALETTE, min_side=0)
    drawn = draw_panoptic(image, ids, segments, style='transparent', line_width=0, alpha=0.4,
                          **options)
    assert drawn.shape == (*ids.shape, 4)
    assert (drawn[..., 3] == np.where(ids == 0, 0, 102)).all()
    colors = segment_colors(ids, segments, PALETTE)
    for value in np.unique(ids[ids > 0]):
        assert (drawn[ids == value][:, :3] == colors[int(value)]).all()
    # laid on a gray picture, it is the overlay on that picture: colors, lines and names
    gray = np.repeat(image[..., :1], 3, axis=2)
    full = draw_panoptic(gray, ids, segments, CLASSES, style='transparent', **options).astype(float)
    opacity = full[..., 3:] / 255
    laid = opacity * full[..., :3] + (1 - opacity) * gray
    overlay = draw_panoptic(gray, ids, segments, CLASSES, **options)
    assert np.abs(laid - overlay).max() < 4


def test_opacities_are_combined():
    below, above = np.array([[10, 20, 30, 102]], np.float32), np.float32([0.5])
    lay(below, above, np.array([250, 150, 50], np.float32))
    # 0.5 of the new color, and 0.5 x 0.4 of the old one
    np.testing.assert_allclose(below[0, 3], 255 * 0.7, rtol=1e-6)
    np.testing.assert_allclose(below[0, :3], (0.5 * np.array([250, 150, 50])
                                              + 0.2 * np.array([10, 20, 30])) / 0.7, rtol=1e-6)
    nothing = np.zeros((1, 4), np.float32)
    lay(nothing, np.float32([0]), 255.0)
    assert not nothing.any()


def test_outlines_leave_the_rest_of_the_image():
    image, ids, segments = random_scene(2)
    drawn = draw_panoptic(image, ids, segments, palette=PALETTE, style='outlines', min_side=0)
    far = cv2.distanceTransform((~edges(ids)).astype(np.uint8), cv2.DIST_L2, 5) > 6
    assert far.sum() > 500
    np.testing.assert_array_equal(drawn[far], image[far])
    np.testing.assert_array_equal(drawn[ids == 0], image[ids == 0])
    # a line is red on the side of a car, green on that of the road
    ids = np.zeros((60, 80), int)
    ids[:, 40:] = 1
    line = draw_panoptic(np.full((60, 80, 3), 128, np.uint8), ids,
                         [DrawnSegment(0, 0, True), DrawnSegment(1, 1, False)], palette=PALETTE,
                         style='outlines', min_side=0).astype(int)
    assert line[30, 39, 0] > line[30, 39, 1] + 40 and line[30, 40, 1] > line[30, 40, 0] + 40


def test_the_width_of_lines():
    ids = np.zeros((100, 100), int)
    ids[:, 50:] = 1
    image = np.full((100, 100, 3), 100, np.uint8)
    segments = [DrawnSegment(0, 0, True), DrawnSegment(1, 0, True)]

    def changed(width):
        drawn = draw_panoptic(image, ids, segments, palette=PALETTE, style='outlines', min_side=0,
                              line_width=width)
        return (drawn[50] != image[50]).any(1).sum()
    assert changed(0) == 0
    assert 2 <= changed(1) < changed(4) < changed(12) <= 40


@pytest.mark.parametrize('options, text', [
    (dict(style='masks'), 'style is one of overlay, mask, outlines, transparent, not .masks.'),
    (dict(alpha=1.5), 'alpha is an opacity from 0 to 1, not 1.5'),
    (dict(alpha=float('nan')), 'alpha is an opacity'),
    (dict(line_width=-1), 'line_width is a number of pixels, at least 0, not -1'),
    (dict(line_width=float('inf')), 'line_width'),
    (dict(label_size=0.01), 'label_size is a factor from 0.1 to 10, or 0'),
    (dict(label_size=float('nan')), 'label_size is a factor'),
    (dict(style='transparent', marks=Marks(void=True)), 'marks are drawn on a ground')])
def test_mistakes(options, text):
    image, ids, segments = random_scene(0)
    with pytest.raises(ValueError, match=text):
        draw_panoptic(image, ids, segments, CLASSES, PALETTE, **options)


def test_files_keep_the_transparency(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 4), dtype=np.uint8)
    write_picture(tmp_path / 'a.png', picture)
    stored = cv2.imread(str(tmp_path / 'a.png'), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(stored[..., [2, 1, 0, 3]], picture)
    with pytest.raises(ValueError, match='a.jpg: a transparent picture ends in .png, .webp'):
        write_picture(tmp_path / 'a.jpg', picture)
    assert not (tmp_path / 'a.jpg').exists()
