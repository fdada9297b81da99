"""Smoothing of curves."""
import numpy as np


def smooth(values: np.ndarray, weight: float) -> np.ndarray:
    """Compute exponential averages that are not drawn towards 0 at the start.

    The average after n values is the sum of ``weight**(n - i) * value_i`` divided by the sum of
    these weights. Values that are not finite are left out.

    Args:
        values: float64 [N].
        weight: of the past, 0 (values as they are) .. below 1.

    Returns:
        float64 [N], NaN where ``values`` are not finite.
    """
    result = np.full(len(values), np.nan)
    total = norm = 0.0
    for k, value in enumerate(values):
        if np.isfinite(value):
            total = weight * total + value
            norm = weight * norm + 1
            result[k] = total / norm
    return result
