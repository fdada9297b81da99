"""Full-size masks against plain resizing of all queries."""
import pytest
import torch
import torch.nn.functional as F

from mmpanseg.models.inference.full_size_masks import (
    CompetingMasks,
    FullSizeMasks,
    competing_activation,
)
from mmpanseg.structures.mask_logits import DenseMaskLogits
from mmpanseg.utils import device as chunks

META = dict(batch_input_shape=(33, 33), img_shape=(33, 25), ori_shape=(50, 38))


def resized(logits, align_corners):
    logits = F.interpolate(logits, (33, 33), mode='bilinear', align_corners=align_corners)
    return F.interpolate(
        logits[..., :25], (50, 38), mode='bilinear', align_corners=align_corners)[0]


@pytest.mark.parametrize('direction, dims', [
    ('horizontal', (-1, )), ('vertical', (-2, )), ('diagonal', (-2, -1))])
@pytest.mark.parametrize('elements', [1, 1 << 22])
def test_chunks_and_rows_are_those_of_the_whole(direction, dims, elements, monkeypatch):
    monkeypatch.setitem(chunks.CHUNK_ELEMENTS, 'cpu', elements)
    logits = torch.randn(1, 6, 9, 9)
    masks = FullSizeMasks(DenseMaskLogits([logits]), 0, dict(
        META, flip=True, flip_direction=direction), unflip=True)
    whole, every = resized(logits, False), torch.arange(6)
    torch.testing.assert_close(torch.cat(list(masks.chunks(every))), whole.flip(dims))
    rows = masks.rows_before_unflip(13, 31)
    found = masks.unflip(masks.result_rows(masks.low_resolution(every), *rows))
    torch.testing.assert_close(found, whole.flip(dims)[:, 13:31])
    assert (masks.max_probs(every) * 1.001 >= whole.sigmoid().flatten(1).amax(1)).all()


def test_resize_once():
    logits = torch.randn(1, 6, 8, 8)
    masks = FullSizeMasks(DenseMaskLogits([logits]), 0, dict(
        batch_input_shape=(32, 32), img_shape=(32, 24), ori_shape=(50, 38)), resize_once=True)
    expected = F.interpolate(logits[..., :6], (50, 38), mode='bilinear')[0]
    torch.testing.assert_close(masks.full_size(torch.arange(6)), expected)


def test_competing_masks_with_aligned_corners():
    torch.manual_seed(0)
    logits = torch.randn(1, 6, 9, 9)
    masks = CompetingMasks(DenseMaskLogits([logits]), 0, META, align_corners=True,
                           activation=competing_activation(0.4))
    whole, every = resized(logits, True), torch.arange(6)
    torch.testing.assert_close(masks.full_size(every), whole.log_softmax(0))
    rows = masks.result_rows(masks.low_resolution(every), 13, 31)
    torch.testing.assert_close(rows, whole[:, 13:31])
    # a result of another size has a softmax of its own
    other = masks.at_size((20, 15)).full_size(every)
    torch.testing.assert_close(other.exp().sum(0), torch.ones(20, 15))
    assert masks.max_probs(every).tolist() == [1] * 6
