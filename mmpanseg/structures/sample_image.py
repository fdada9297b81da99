"""The image of a sample for display."""
from collections.abc import Mapping

import mmcv
import numpy as np
from mmengine import fileio

from mmpanseg.structures.exif_orientation import apply_orientation
from mmpanseg.structures.image_channels import channels_to_rgb, decode_channels
from mmpanseg.structures.image_file import (
    ARRAY_SUFFIXES,
    decode_image,
    file_header,
    read_header,
    to_rgb_uint8,
)


def read_sample_image(sample: Mapping, backend_args: dict | None = None) -> np.ndarray:
    """Read the image of a sample for display, in the orientation of the network's input.

    Args:
        sample: with ``img_path``, and ``img_orientation`` and ``drawn_channels`` if the loading
            transform recorded them.
        backend_args: arguments of mmengine's file backend.

    Returns:
        uint8 RGB [H, W, 3].
    """
    path = sample['img_path']
    data = fileio.get(path, backend_args=backend_args)
    drawn = sample.get('drawn_channels')
    if drawn is not None or path.lower().endswith(ARRAY_SUFFIXES):
        drawn = drawn or {}
        pixels = decode_channels(data, path, drawn.get('channels_first', False)).pixels
        return channels_to_rgb(pixels, drawn.get('channels'))
    header = read_header(data)
    # for 8 bits, palettes, transparency and gray are converted to BGR
    deep = header is not None and header.bits > 8
    image = decode_image(data, path, 'unchanged' if deep else 'color_ignore_orientation')
    orientation = sample.get('img_orientation')
    if orientation is None:
        orientation = 1 if image.header is None else image.header.orientation
    return apply_orientation(to_rgb_uint8(image.pixels), orientation)


def match_loaded_image(image: np.ndarray, sample: Mapping) -> np.ndarray:
    """Replace an image that mmcv read from a sample's file by one that matches the network's input.

    Visualization hooks read files with mmcv's defaults. The orientation then differs from the
    loading transform's if one of the two ignores EXIF, and images of more than 8 bits are nearly
    black.

    Args:
        image: uint8 RGB [H, W, 3]. An image that differs from what mmcv reads stays unchanged.
        sample: see :func:`read_sample_image`.

    Returns:
        uint8 RGB [H, W, 3].
    """
    if sample.get('drawn_channels') is not None:
        # images in memory have no path, and are drawn already
        return read_sample_image(sample) if sample.get('img_path') else image
    header = file_header(sample.get('img_path'))
    if header is None or (header.orientation == 1 and header.bits <= 8):
        return image
    if not np.array_equal(image, mmcv.imread(sample['img_path'], channel_order='rgb')):
        return image
    return read_sample_image(sample)
