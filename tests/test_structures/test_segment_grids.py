"""Cells that segments touch, against pooling of dense masks."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmpanseg.structures import SegmentMap
from mmpanseg.structures.segment_grids import resize_nearest
from mmpanseg.structures.segment_map import SegmentBatch


@pytest.mark.parametrize('size', [(16, 24), (8, 12), (5, 7), (1, 1), (11, 3), (32, 48)])
@pytest.mark.parametrize('dense', [False, True])
@pytest.mark.parametrize('dtype', [torch.int16, torch.int32, torch.int64])
def test_cells_equal_area_resizing_above_zero(size, dense, dtype):
    torch.manual_seed(0)
    maps = []
    for height, width, count in ((32, 48, 5), (20, 48, 3), (32, 30, 0)):
        index = torch.randint(0, 60, (height, width)) - 1
        index[index >= count] = -1
        maps.append(SegmentMap(torch.zeros(count, dtype=torch.long), map=index.to(dtype)))
    truth = [SegmentMap(s.labels, masks=s.dense()) for s in maps] if dense else maps
    found = SegmentBatch(truth, (32, 48)).max_pool(size)
    assert found.shape == (3, 5, size[0] * size[1]) and found.dtype == torch.bool
    for b, s in enumerate(maps):
        padded = F.pad(s.dense().float(), (0, 48 - s.shape[1], 0, 32 - s.shape[0]))
        expected = F.adaptive_avg_pool2d(padded, size).flatten(1) > 1e-8
        assert torch.equal(found[b, :len(s)], expected)
        assert not found[b, len(s):].any()


def test_nothing_to_pool():
    nothing = SegmentMap(torch.zeros(0, dtype=torch.long), map=torch.full((32, 32), -1))
    assert SegmentBatch([nothing] * 2, (32, 32)).max_pool((4, 4)).shape == (2, 0, 16)
    masks = SegmentMap(nothing.labels, masks=nothing.dense())
    assert SegmentBatch([masks] * 2, (32, 32)).max_pool((4, 4)).shape == (2, 0, 16)


@pytest.mark.parametrize('size', [(7, 3), (3, 4), (1, 1), (12, 9)])
def test_nearest_neighbor(size):
    labels = torch.arange(12).view(3, 4)
    expected = F.interpolate(
        labels[None, None].double(), size, mode='nearest-exact')[0, 0].long()
    assert torch.equal(resize_nearest(labels, size), expected)
    np.testing.assert_array_equal(resize_nearest(labels.numpy(), size), expected.numpy())
    assert resize_nearest(labels > 5, size).dtype == torch.bool
