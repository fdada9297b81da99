"""Boundaries of masks, against erosion and against their definition by distance."""
import cv2
import numpy as np
import pytest

from mmpanseg.evaluation.boundary import (
    boundary_distance,
    check_boundary_width,
    map_boundary,
    mask_boundary,
)


def eroded_away(mask: np.ndarray, distance: int) -> np.ndarray:
    """What repeated erosion by 3x3 removes; outside the image there is no mask."""
    padded = np.pad(mask.astype(np.uint8), 1)
    inner = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=distance)[1:-1, 1:-1]
    return mask & (inner == 0)


def near_other(segment_map: np.ndarray, distance: int) -> np.ndarray:
    """Pixels whose square of side 2 distance + 1 holds another value or leaves the image."""
    padded = np.pad(segment_map, distance, constant_values=-7)
    result = np.zeros(segment_map.shape, bool)
    for y, x in np.ndindex(segment_map.shape):
        window = padded[y:y + 2 * distance + 1, x:x + 2 * distance + 1]
        result[y, x] = (window != segment_map[y, x]).any()
    return result


def random_map(rng: np.random.Generator) -> np.ndarray:
    height, width = rng.integers(1, 40, 2)
    segment_map = np.zeros((height, width), np.int32)
    for value in range(1, rng.integers(1, 8)):
        y, x = rng.integers(0, height), rng.integers(0, width)
        shape = rng.integers(1, 30, 2)
        segment_map[y:y + shape[0], x:x + shape[1]] = value * 70000
    segment_map[rng.random((height, width)) < 0.002] = 5
    return segment_map


@pytest.mark.parametrize('seed', range(25))
def test_against_definitions(seed):
    rng = np.random.default_rng(seed)
    segment_map, distance = random_map(rng), int(rng.integers(1, 9))
    boundary = map_boundary(segment_map, distance)
    np.testing.assert_array_equal(boundary, near_other(segment_map, distance))
    for value in np.unique(segment_map):
        mask = segment_map == value
        expected = eroded_away(mask, distance)
        np.testing.assert_array_equal(mask_boundary(mask, distance), expected)
        np.testing.assert_array_equal(boundary & mask, expected)


def test_image_of_real_size():
    y, x = np.mgrid[:480, :640]
    mask = ((x - 300) ** 2 + (y - 200) ** 2 < 150 ** 2) | (x > 600)
    distance = boundary_distance(mask.shape, 0.02)
    assert distance == 16
    expected = eroded_away(mask, distance)
    np.testing.assert_array_equal(mask_boundary(mask, distance), expected)
    np.testing.assert_array_equal(map_boundary(mask.astype(int), distance) & mask, expected)


def test_hand_made():
    assert not mask_boundary(np.zeros((3, 4), bool), 1).any()
    ring = np.ones((5, 5), bool)
    ring[2, 2] = False
    np.testing.assert_array_equal(mask_boundary(np.ones((5, 5), bool), 2), ring)
    assert boundary_distance((4, 3), 0.02) == 1
    assert boundary_distance((300, 400), 0.05) == 25


@pytest.mark.parametrize('width', [0, -0.02, 1, 2])
def test_width_must_be_a_share(width):
    with pytest.raises(ValueError, match=f'boundary_width={width} must be between 0 and 1'):
        check_boundary_width(width)
