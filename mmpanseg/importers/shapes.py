"""Shapes of labeling tools as polygons: points (x, y) in pixels [n, 2], where pixel 0 is 0 .. 1."""
from collections.abc import Callable
from typing import Any

import numpy as np

from mmpanseg.importers.source_image import LeftOut, SourceError

# coordinates beyond are no pixels
MAX_COORDINATE = 1e7
# largest distance of the corners' polygon from a circle, in pixels
ROUNDNESS = 0.01


def to_points(values: Any, where: str) -> np.ndarray:
    """Convert a list of (x, y) to an array [n, 2].

    Raises:
        SourceError: it is no such list, or a value is no finite number.
    """
    try:
        points = np.asarray(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise SourceError(f'{where}: its points must be numbers (x, y)') from None
    if points.size == 0:
        return np.zeros((0, 2))
    if points.ndim != 2 or points.shape[1] != 2:
        raise SourceError(f'{where}: its points must be pairs (x, y)')
    # NaN is not below, too
    if not (np.abs(points) < MAX_COORDINATE).all():
        raise SourceError(f'{where}: a coordinate is not finite, or far outside of any image')
    return points


def to_number(value: Any, where: str) -> float:
    """Convert a number or its text to a finite float.

    Raises:
        SourceError: it is none.
    """
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise SourceError(f'{where} must be a number, got {value!r}') from None
    if isinstance(value, bool) or not abs(number) < MAX_COORDINATE:
        raise SourceError(f'{where} must be a finite number below {MAX_COORDINATE:.0e}, got '
                          f'{value!r}')
    return number


def has_area(polygon: np.ndarray) -> bool:
    """Check that a polygon has three different points that are not on one upright line."""
    return bool(len(np.unique(polygon, axis=0)) >= 3 and (np.ptp(polygon, 0) > 0).all())


def keep_area(polygon: np.ndarray, where: str, leave_out: Callable[[LeftOut], None]) -> bool:
    """Return whether a polygon has an area; report it as left out if not."""
    if has_area(polygon):
        return True
    leave_out(LeftOut('shape without area', where))
    return False


def box_polygon(x1: float, y1: float, x2: float, y2: float) -> np.ndarray:
    """Return the corners of a box [4, 2]; its corners may come in any order."""
    left, right, top, bottom = min(x1, x2), max(x1, x2), min(y1, y2), max(y1, y2)
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def rotate(points: np.ndarray, degrees: float, center: tuple[float, float]) -> np.ndarray:
    """Rotate points [n, 2] clockwise on the screen."""
    if not degrees:
        return points
    angle = np.deg2rad(degrees)
    # y points down, so that this matrix is clockwise
    matrix = np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))])
    return (points - center) @ matrix.T + center


def ellipse_polygon(x: float, y: float, radius_x: float, radius_y: float,
                    degrees: float = 0) -> np.ndarray:
    """Return points on an ellipse, so many that the polygon deviates by at most 0.01 pixels.

    Args:
        x: center.
        y: center.
        radius_x: half of the first axis, not negative.
        radius_y: half of the second axis, not negative.
        degrees: rotation clockwise.
    """
    largest = max(radius_x, radius_y, ROUNDNESS)
    count = max(int(np.ceil(np.pi / np.sqrt(2 * ROUNDNESS / largest))), 8)
    angles = 2 * np.pi * np.arange(count) / count
    points = np.stack([x + radius_x * np.cos(angles), y + radius_y * np.sin(angles)], 1)
    return rotate(points, degrees, (x, y))
