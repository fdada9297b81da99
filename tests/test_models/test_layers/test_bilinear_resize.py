"""Bilinear resizing of some rows against that of the whole."""
import pytest
import torch
import torch.nn.functional as F

from mmpanseg.models.layers.bilinear_resize import resize_planes, resize_rows, source_rows


@pytest.mark.parametrize('in_rows, out_rows', [(10, 37), (37, 10), (251, 4000), (600, 599),
                                               (1, 5), (5, 1), (8, 8)])
@pytest.mark.parametrize('step', [1, 7])
@pytest.mark.parametrize('align_corners', [False, True])
def test_rows_of_a_resized_plane(in_rows, out_rows, step, align_corners):
    planes = torch.randn(2, in_rows, 9)
    size = (out_rows, 14)
    whole = F.interpolate(planes[None], size, mode='bilinear', align_corners=align_corners)[0]
    for start in range(0, out_rows, step * max(1, out_rows // 50)):
        stop = min(start + step, out_rows)
        first, last = source_rows(start, stop, in_rows, out_rows, align_corners)
        rows = resize_rows(planes[:, first:last], first, in_rows, size, start, stop,
                           align_corners)
        torch.testing.assert_close(rows, whole[:, start:stop], atol=1e-6, rtol=0)


def test_planes():
    planes = torch.randn(3, 4, 5)
    expected = F.interpolate(planes[:, None], (7, 9), mode='bilinear')[:, 0]
    torch.testing.assert_close(resize_planes(planes, (7, 9)), expected)
    assert torch.equal(resize_planes(planes, (4, 5)), planes)
    assert resize_planes(planes[:0], (7, 9)).shape == (0, 7, 9)
