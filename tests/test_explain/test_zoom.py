"""Parts of an image around small segments: where they are, and what pictures of them show."""
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from mmpanseg.apis import Predictor
from mmpanseg.explain import explain
from mmpanseg.explain.explanation import LayerView, Look, Points
from mmpanseg.explain.grids import Grid
from mmpanseg.explain.sheet import draw_heads, draw_sheet
from mmpanseg.explain.thumbnails import Thumbnails, highlight
from mmpanseg.explain.zoom import WHOLE, Window, find_window, resized

from .test_explain import LOW


@pytest.mark.parametrize(('box', 'size', 'expected'), [
    # box 40 x 20 in 200 x 400: 0.1 of both, so 0.2 of the image in its middle
    ((180, 90, 220, 110), (200, 400), (160, 80, 240, 120)),
    # at the border
    ((0, 180, 40, 200), (200, 400), (0, 160, 80, 200)),
    ((390, 0, 400, 20), (200, 400), (320, 0, 400, 40)),
    # the longer side decides
    ((190, 0, 192, 50), (200, 400), (91, 0, 291, 100)),
    # one pixel: at least 16 rows, or 0.04 of the image
    ((200, 100, 201, 101), (200, 400), (184, 92, 216, 108)),
    ((2000, 1000, 2001, 1001), (2000, 4000), (1920, 960, 2080, 1040)),
    # larger than a quarter, or an image of which 16 pixels are more than a half
    ((0, 0, 102, 10), (200, 400), None), ((0, 0, 10, 51), (200, 400), None),
    ((3, 3, 5, 5), (20, 20), None)])
def test_place(box, size, expected):
    window = find_window(box, size)
    if expected is None:
        assert window is None
    else:
        assert window.corners(size) == expected
        assert window.factor == pytest.approx(size[0] / (expected[3] - expected[1]))


@pytest.mark.parametrize('seed', range(5))
def test_a_window_is_in_the_image_and_has_the_segment(seed):
    rng = np.random.default_rng(seed)
    for _ in range(200):
        height, width = rng.integers(64, 500, 2)
        w, h = rng.integers(1, width // 4), rng.integers(1, height // 4)
        left, top = rng.integers(0, width - w + 1), rng.integers(0, height - h + 1)
        window = find_window((left, top, left + w, top + h), (height, width))
        x1, y1, x2, y2 = window.corners((height, width))
        assert 0 <= x1 <= left and left + w <= x2 <= width
        assert 0 <= y1 <= top and top + h <= y2 <= height
        assert window.factor > 1.9


def test_parts_of_pictures_agree_with_a_large_picture():
    """Enlarged directly, and cut from an enlarged picture of the whole image."""
    rng = np.random.default_rng(0)
    values = rng.random((24, 32), np.float32)
    window = Window(0.25, 0.5, 0.25, 0.25)
    part = resized(values, (48, 64), window)
    large = cv2.resize(values, (256, 192), interpolation=cv2.INTER_LINEAR)
    # warping rounds places to 1/32 of a pixel
    assert np.abs(part - large[96:144, 64:128]).max() < 0.04
    # within pixels of the map
    window = Window(5 / 64, 7 / 48, 0.25, 0.25)
    part = resized(values, (48, 64), window)
    assert np.abs(part - large[28:76, 20:84]).max() < 0.04
    numbers = rng.integers(0, 1000, (24, 32)).astype(np.float32)
    part = resized(numbers, (48, 64), window, nearest=True)
    large = np.repeat(np.repeat(numbers, 8, 0), 8, 1)
    assert (part == large[28:76, 20:84]).mean() > 0.85  # pixels between two numbers may differ
    assert np.isin(part, numbers).all()
    # a part that is shrunk: the mean of its pixels
    image = rng.random((400, 800, 3), np.float32)
    part = resized(image, (25, 50), Window(0.5, 0.25, 0.25, 0.25))
    assert np.abs(part - image[100:200, 400:600].reshape(25, 4, 50, 4, 3).mean((1, 3))).max() < 1e-4


def test_cells_of_a_part():
    grid = Grid(8, (5.5, 7.25))
    values = np.arange(48).reshape(6, 8)
    whole = grid.spread(values, (440, 580))
    part = Window(0.3, 0.6, 0.2, 0.2)
    assert (grid.spread(values, (88, 116), part) == whole[264:352, 174:290]).all()


@pytest.fixture
def thumbnails():
    """Of a whole image of 640 x 480, and of a part of it that is four times as large."""
    image = np.full((480, 640, 3), 128, np.uint8)
    final = np.zeros((480, 640), np.float32)
    final[240:280, 320:360] = 1
    window = Window(0.45, 0.4, 0.25, 0.25)
    return [Thumbnails(image, 160, (0, 0, 255), final, part) for part in (WHOLE, window)]


def covered(picture, test):
    """Box (x1, y1, x2, y2) of the pixels that pass a test of their colors."""
    rows, columns = np.nonzero(test(*picture.astype(int).transpose(2, 0, 1)))
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_what_a_part_shows(thumbnails):
    whole, part = thumbnails
    # in the part the square begins at ((0.5 - 0.45), (0.5 - 0.4)) / 0.25 of the width and height
    mask = np.zeros((480, 640), np.float32)
    mask[240:280, 320:360] = 1
    expected = np.array((32, 48, 72, 88))
    assert np.abs(covered(part.mask(mask), lambda r, g, b: b - r > 50) - expected).max() <= 2
    assert np.abs(np.subtract(covered(whole.mask(mask), lambda r, g, b: b - r > 50),
                              (80, 60, 90, 70))).max() <= 2
    owners = np.where(mask > 0, 3, 1).astype(np.int32)
    layer = LayerView('layer 1', cluster=mask > 0, owners=owners)
    assert np.abs(covered(part.cluster(layer), lambda r, g, b: b - r > 150) - expected).max() <= 2
    weights = np.zeros((1, 60, 80), np.float32)
    weights[0, 30:35, 40:45] = 0.1
    weights[0, 0, 0] = 0.2  # outside of the part, and the largest
    look = Look(8, weights, None, [0.0], None, (60.0, 80.0))
    picture = part.attention(weights[0], look)
    assert np.abs(covered(picture, lambda r, g, b: r - b > 80) - expected).max() <= 2
    # the scale is that of the whole: half of the largest weight is not yellow
    assert picture[60, 50, 1] < 150 and whole.attention(weights[0], look)[0, 0, 1] > 180
    points = Points(np.array((0.55, 0.5), np.float32).reshape(1, 1, 1, 2),
                    np.ones((1, 1, 1), np.float32), [0.6, 0.6, 0.05, 0.05], 1.0)
    picture = part.points(points)
    x1, y1, x2, y2 = covered(picture, lambda r, g, b: (r - b > 60) & (g > 80))
    assert abs((x1 + x2) / 2 - 64.5) <= 1 and abs((y1 + y2) / 2 - 48.5) <= 1
    assert np.abs(np.subtract(covered(picture, lambda r, g, b: b > 200),
                              (80, 84, 113, 109))).max() <= 1
    logits = np.zeros((60, 80), np.float32)
    logits[30:35, 40:45] = 1
    assert np.abs(covered(part.logits(logits, (60.0, 80.0)), lambda r, g, b: r > 128)
                  - expected).max() <= 1


def test_highlight_of_a_part():
    image = np.full((480, 640, 3), (200, 40, 40), np.uint8)
    inside = np.zeros((480, 640), bool)
    inside[240:280, 320:360] = True
    picture = highlight(image, inside, (0, 255, 0), (120, 160), Window(0.45, 0.4, 0.25, 0.25))
    assert np.abs(np.subtract(covered(picture, lambda r, g, b: g > r),
                              (32, 48, 72, 88))).max() <= 1
    assert picture[68, 52].tolist() == [200, 40, 40]


@pytest.mark.parametrize(('name', 'shape'), [
    ('mask2former', (200, 300)), ('mask2former', (300, 200)), ('panoptic_segformer', (200, 300)),
    ('kmax_deeplab', (300, 200))])
def test_sheets_of_small_segments_show_the_part(system, pictures, name, shape):
    predictor = Predictor(*system(name, panoptic_fusion_head=LOW[name]))
    explanation = explain(predictor, pictures[0], limit=1)
    one, = explanation.explained
    image = cv2.resize(pictures[0], shape[::-1])
    sheets, heads = [], []
    for side in (100, 20):
        mask = np.zeros(shape, bool)
        mask[40:40 + side, 40:40 + side] = True
        segment = replace(one.segment, box=(40.0, 40.0, 40.0 + side, 40.0 + side),
                          _masks=SimpleNamespace(mask=lambda key, mask=mask: mask))
        changed = replace(one, segment=segment)
        sheets.append(draw_sheet(explanation, changed, image, (200, 30, 30)))
        heads.append(draw_heads(changed, image, (200, 30, 30)))
    (large, small), (large_heads, small_heads) = sheets, heads
    assert small.shape[1] == large.shape[1] == 1800
    # each row of heads has the parts below its pictures
    looks = [look for layer in one.layers for look in layer.looks]
    if looks:
        columns = max(2, len(looks[-1].heads))
        width = min(220, (1800 - 64 - 12 * (columns - 1)) // columns)
        row = round(width * shape[0] / shape[1]) + 3
        assert len(small_heads) - len(large_heads) == len(looks) * row
    assert len(small) > len(large) + 200
    # the part is below a picture of landscape format, else beside it
    (left, top), expected = ((0, 92 + 326), (189, 496, 346, 653)) if shape[0] < shape[1] else (
        (32 + 274 + 12, 92), (387, 229, 524, 366))
    place = small[top:top + 411, left:left + 500 if shape[0] < shape[1] else left + 274]
    edge = covered(place, lambda r, g, b: (r > 180) & (g < 60) & (b < 60))
    assert np.abs(np.add(edge, (left, top, left, top)) - expected).max() <= 4
