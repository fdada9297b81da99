"""Polygons and run lengths against mmdet's dense masks, and as segments."""
import numpy as np
import pytest
import torch
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from pycocotools import mask as rle_tools

from mmpanseg.structures.encoded_masks import (
    EncodedMasks,
    encode_mask,
    encode_masks,
    encode_segmentation,
    segments_from_rles,
)

SIZE = (20, 30)


def circles(count, seed=0):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE[0], :SIZE[1]]
    return np.stack([(x - rng.integers(30)) ** 2 + (y - rng.integers(20)) ** 2 < rng.integers(9, 70)
                     for _ in range(count)]).astype(np.uint8)


def test_every_form_of_run_lengths():
    mask = circles(1)[0]
    flat = mask.ravel(order='F')
    edges = [0, *np.flatnonzero(np.diff(flat)) + 1, flat.size]
    counts = [0] * int(flat[0]) + np.diff(edges).tolist()
    rle = encode_mask(mask)
    assert encode_mask(torch.from_numpy(mask).bool()) == rle
    text = dict(size=list(SIZE), counts=rle['counts'].decode())
    for given in (rle, text, dict(size=list(SIZE), counts=counts)):
        assert np.array_equal(rle_tools.decode(encode_segmentation(given, *SIZE)), mask)


@pytest.mark.parametrize('operation, arguments', [
    ('resize', ((33, 17), )), ('rescale', ((60, 45), )), ('flip', ('horizontal', )),
    ('flip', ('vertical', )), ('flip', ('diagonal', )), ('pad', ((25, 40), )),
    ('crop', (np.array([3, 2, 21, 17]), )), ('expand', (40, 50, 4, 7)),
    ('translate', (SIZE, 5, 'vertical')), ('shear', (SIZE, 0.3)), ('rotate', (SIZE, 20.))])
def test_operations_are_those_of_dense_masks(operation, arguments):
    dense = BitmapMasks(circles(4), *SIZE)
    masks = EncodedMasks([encode_mask(mask) for mask in dense.masks], *SIZE)
    result, expected = (getattr(m, operation)(*arguments) for m in (masks, dense))
    assert (result.height, result.width) == (expected.height, expected.width)
    assert np.array_equal(result.to_ndarray(), expected.to_ndarray()) and len(result) == 4
    nothing = getattr(masks[:0], operation)(*arguments)
    assert (nothing.height, nothing.width) == (expected.height, expected.width)


@pytest.mark.parametrize('operation, arguments', [
    ('resize', ((33, 17), )), ('flip', ('horizontal', )), ('pad', ((25, 40), )),
    ('crop', (np.array([3, 2, 21, 17]), ))])
def test_polygons_stay_polygons(operation, arguments):
    polygons = [[np.array([2.3, 1.7, 14.2, 3.1, 9.5, 15.8])], [np.array([20., 5, 29, 5, 25, 18])]]
    masks = EncodedMasks([*polygons, encode_mask(circles(1)[0])], *SIZE)
    result = getattr(masks, operation)(*arguments)
    expected = getattr(PolygonMasks(polygons, *SIZE), operation)(*arguments)
    assert np.array_equal(result.to_ndarray()[:2], expected.to_ndarray())
    assert isinstance(result.masks[0], list) and isinstance(result.masks[2], dict)


def test_selection_areas_and_boxes():
    dense = BitmapMasks(circles(5), *SIZE)
    masks = EncodedMasks([encode_mask(mask) for mask in dense.masks], *SIZE)
    for index in (2, slice(1, 3), np.array([4, 0]), np.array([True, False, True, False, False])):
        assert np.array_equal(masks[index].to_ndarray(), dense[index].to_ndarray())
    assert masks.areas.tolist() == dense.areas.tolist()
    assert np.array_equal(np.stack(list(masks)), dense.masks)
    assert torch.equal(masks.get_bboxes('hbox').tensor, dense.get_bboxes('hbox').tensor)
    assert torch.equal(masks.to_tensor(torch.bool, 'cpu'), dense.to_tensor(torch.bool, 'cpu'))
    assert np.array_equal(EncodedMasks.cat([masks[:2], masks[2:]]).to_ndarray(), dense.masks)


@pytest.mark.parametrize('count', [0, 1, 6, 300])
def test_segments_are_a_map_or_masks(count):
    masks = circles(count, seed=3) if count else np.zeros((0, *SIZE), np.uint8)
    labels = torch.arange(count)
    segments = segments_from_rles(labels, [encode_mask(mask) for mask in masks], SIZE)
    assert (segments.map is None) == (count > 1) and segments.shape == SIZE
    assert np.array_equal(segments.dense().numpy(), masks)
    # each pixel for the last one only
    apart = masks * (np.cumsum(masks[::-1], 0)[::-1] == 1)
    segments = segments_from_rles(labels, encode_masks(BitmapMasks(list(apart), *SIZE)), SIZE)
    assert segments.map is not None and segments.labels is labels
    assert np.array_equal(segments.dense().numpy(), apart)
