"""COCO panoptic PNG coding: segment id = R + 256 G + 65536 B."""
import numpy as np


def rgb2id(color: np.ndarray) -> np.ndarray:
    """Segment ids of a colour-coded panoptic image.

    Args:
        color: uint8 array [..., 3], channels in RGB order.

    Returns:
        int32 array [...], ids in 0 .. 2**24 - 1.
    """
    color = np.asarray(color)
    if color.shape[-1] != 3:
        raise ValueError(f'a colour-coded panoptic image has 3 channels, got shape {color.shape}')
    ids = color[..., 2].astype(np.int32)
    ids <<= 8
    ids += color[..., 1]
    ids <<= 8
    ids += color[..., 0]
    return ids


def id2rgb(ids: np.ndarray) -> np.ndarray:
    """Colour coding of segment ids, the inverse of :func:`rgb2id`.

    Args:
        ids: integer array [...], values in 0 .. 2**24 - 1.

    Returns:
        uint8 array [..., 3], channels in RGB order.
    """
    ids = np.asarray(ids)
    if ids.size and (ids.min() < 0 or ids.max() >= 1 << 24):
        raise ValueError(
            f'segment ids must lie in 0 .. {(1 << 24) - 1}, got {ids.min()} .. {ids.max()}')
    return np.stack([ids & 255, ids >> 8 & 255, ids >> 16 & 255], axis=-1).astype(np.uint8)
