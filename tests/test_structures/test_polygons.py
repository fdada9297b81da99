"""Polygons of masks: exact in both directions, against pycocotools, shapely and scipy."""
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as rle_tools
from scipy import ndimage

from mmpanseg.structures.polygons import mask_to_polygons, polygons_to_mask

from ..fuzz import cases

MASKS = st.tuples(st.integers(1, 14), st.integers(1, 14)).flatmap(
    lambda size: arrays(bool, size))

COORDINATES = st.integers(-300, 1200).map(lambda value: value / 100)


def read(text):
    """Mask of a drawing, ``#`` = inside."""
    return np.array([[letter == '#' for letter in row] for row in text.split()])


def coco_mask(polygons, size):
    """The mask that pycocotools fills."""
    rles = rle_tools.frPyObjects([polygon.ravel().tolist() for polygon in polygons], *size)
    return rle_tools.decode(rle_tools.merge(rles)).astype(bool)


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


def signed_area(polygon):
    x, y = polygon.T
    return (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() / 2


@cases(200)
@given(MASKS)
def test_round_trip_of_any_mask(mask):
    polygons = mask_to_polygons(mask)
    assert (polygons_to_mask(polygons, mask.shape) == mask).all()
    # clockwise on the screen, and without holes that would count twice
    assert sum(map(signed_area, polygons)) == mask.sum()
    assert all(len(polygon) >= 4 and signed_area(polygon) > 0 for polygon in polygons)
    assert len(polygons) == ndimage.label(mask)[1]


@cases(200)
@given(MASKS)
def test_pycocotools_fills_the_same_pixels(mask):
    """IoU 1: edges of pixels are exact there, and cuts to holes cancel."""
    if mask.any():
        assert iou(coco_mask(mask_to_polygons(mask), mask.shape), mask) == 1


def test_large_smooth_masks_in_pycocotools():
    y, x = np.mgrid[:300, :420]
    distance = np.hypot(x - 200, y - 150)
    ring = (distance < 140) & (distance > 60) | (distance < 20)
    polygons = mask_to_polygons(ring)
    assert len(polygons) == 2
    assert iou(coco_mask(polygons, ring.shape), ring) == 1


@pytest.mark.parametrize('mask, expected', [
    ('.... .#.. ....', [[(1, 1), (2, 1), (2, 2), (1, 2)]]),  # one pixel
    ('.### ....', [[(1, 0), (4, 0), (4, 1), (1, 1)]]),  # a row at the border
    ('#. #. #.', [[(0, 0), (1, 0), (1, 3), (0, 3)]]),  # a column
    ('#. .#', [[(0, 0), (1, 0), (1, 1), (0, 1)], [(1, 1), (2, 1), (2, 2), (1, 2)]]),
    # the cut goes from the hole's upper left corner to the left
    ('### #.# ###', [[(0, 0), (3, 0), (3, 3), (0, 3), (0, 1), (1, 1), (1, 2), (2, 2), (2, 1),
                      (1, 1), (0, 1)]])])
def test_small_masks(mask, expected):
    found = [polygon.tolist() for polygon in mask_to_polygons(read(mask))]
    # the first corner is free
    assert len(found) == len(expected)
    for polygon, corners in zip(found, expected):
        corners = [list(map(float, corner)) for corner in corners]
        assert polygon in [corners[k:] + corners[:k] for k in range(len(corners))]


def test_no_corner_lies_on_a_straight_line():
    mask = read('######## ######## ##....## ######## ########')
    polygon, = mask_to_polygons(mask)
    # four of the outline, four of the hole and its first one again, both ends of the cut
    assert len(polygon) == 4 + 5 + 2


def test_holes_in_holes_and_beside_each_other():
    mask = read('############ #.#.#....##. #.#.#.##.### #...#.##.#.# #####....### ############')
    polygons = mask_to_polygons(mask)
    assert len(polygons) == ndimage.label(mask)[1] == 2
    assert (polygons_to_mask(polygons, mask.shape) == mask).all()
    assert (coco_mask(polygons, mask.shape) == mask).all()


def test_empty_mask():
    assert mask_to_polygons(np.zeros((3, 4), bool)) == []
    assert not polygons_to_mask([], (3, 4)).any()


@cases(100)
@given(st.lists(st.tuples(COORDINATES, COORDINATES), min_size=3, max_size=7))
def test_any_polygon_is_filled_at_pixel_centers(corners):
    """Against shapely for simple polygons; a center that lies on an edge may be either."""
    shape = shapely.Polygon(corners)
    if not shape.is_valid or shape.area == 0:
        return
    mask = polygons_to_mask([np.array(corners)], (8, 9))
    x, y = np.meshgrid(np.arange(9) + 0.5, np.arange(8) + 0.5)
    centers = shapely.points(x, y)
    sure = shapely.distance(shape.boundary, centers) > 1e-9
    assert (mask == shapely.contains(shape, centers))[sure].all()


def test_polygons_are_united_and_may_be_flat():
    square = [0, 0, 2, 0, 2, 2, 0, 2]
    mask = polygons_to_mask([square, np.array(square).reshape(-1, 2) + 1], (4, 4))
    assert (mask == read('##.. ###. .##. ....')).all()


@pytest.mark.parametrize('polygon', [[0, 1, 2], [[0, 1, 2]], [0, 0, 1, float('nan')],
                                     [[0, 0], [1, float('inf')]]])
def test_invalid_polygons(polygon):
    with pytest.raises(ValueError, match='polygon 1 must be finite corners'):
        polygons_to_mask([[0, 0, 1, 0, 1, 1], polygon], (2, 2))


def test_invalid_mask():
    with pytest.raises(ValueError, match=r'shape \[H, W\], got \[1, 2, 3\]'):
        mask_to_polygons(np.zeros((1, 2, 3), bool))
