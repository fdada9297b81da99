"""The eight EXIF orientations, against Pillow's."""
import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from mmpanseg.structures.exif_orientation import (
    ORIENTATIONS,
    annotation_orientation,
    apply_orientation,
    inverse_orientation,
    orient_boxes,
    orient_points,
    oriented_size,
)


@pytest.mark.parametrize('orientation', ORIENTATIONS)
def test_as_pillow_turns(orientation):
    stored = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(file, 'PNG', exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(file)))
    upright = apply_orientation(stored, orientation)
    np.testing.assert_array_equal(upright, expected)
    assert oriented_size((5, 7), orientation) == upright.shape[:2]
    assert oriented_size(upright.shape[:2], orientation) == (5, 7)
    np.testing.assert_array_equal(
        apply_orientation(upright, inverse_orientation(orientation)), stored)
    assert upright.flags.c_contiguous


@pytest.mark.parametrize('orientation', ORIENTATIONS)
def test_points_and_boxes_go_with_their_pixels(orientation):
    for row, column in ((0, 0), (1, 4), (3, 6)):
        mask = np.zeros((4, 7), bool)
        mask[row, column] = True
        (y, ), (x, ) = np.nonzero(apply_orientation(mask, orientation))
        center = orient_points(np.array([column + 0.5, row + 0.5]), orientation, (4, 7))
        assert center.tolist() == [x + 0.5, y + 0.5]
        box = np.array([[column, row, column + 1, row + 1]], float)
        box = orient_boxes(box, orientation, (4, 7))
        assert box.tolist() == [[x, y, x + 1, y + 1]]


@pytest.mark.parametrize('shape, sample, expected', [
    ((48, 64), dict(img_orientation=6, ori_shape=(64, 48)), 6),
    ((64, 48), dict(img_orientation=6, ori_shape=(64, 48)), 1),
    # sizes decide where they differ
    ((48, 64), dict(img_orientation=6, ann_orientation=1, ori_shape=(64, 48)), 6),
    ((64, 64), dict(img_orientation=6, ori_shape=(64, 64)), 6),
    ((64, 64), dict(img_orientation=6, ann_orientation=1, ori_shape=(64, 64)), 1),
    ((48, 64), dict(img_orientation=3, ori_shape=(48, 64)), 3),
    ((48, 64), dict(img_orientation=1, ori_shape=(48, 64)), 1),
    ((48, 64), dict(ori_shape=(48, 64)), 1)])
def test_how_annotations_are_turned(shape, sample, expected):
    assert annotation_orientation(shape, sample) == expected
