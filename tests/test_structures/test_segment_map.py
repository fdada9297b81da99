"""Segment maps against dense masks."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmpanseg.structures.segment_map import SegmentBatch, SegmentMap


def random_map(count=5, size=(9, 14), seed=0):
    torch.manual_seed(seed)
    return SegmentMap(torch.arange(count), map=torch.randint(-1, count, size, dtype=torch.int32))


def as_masks(segments):
    return SegmentMap(segments.labels, masks=segments.dense())


def as_bits(segments):
    bits = np.packbits(segments.dense().numpy(), axis=2)
    return SegmentMap.from_bits(segments.labels, torch.from_numpy(bits), segments.shape[1])


def test_dense_and_areas():
    segments = SegmentMap(torch.tensor([7, 3, 4]), map=torch.tensor([[0, 0, -1], [2, 0, -1]]))
    assert segments.dense().int().tolist() == [
        [[1, 1, 0], [0, 1, 0]], [[0, 0, 0], [0, 0, 0]], [[0, 0, 0], [1, 0, 0]]]
    assert segments.areas().tolist() == as_masks(segments).areas().tolist() == [3, 0, 1]
    assert as_bits(segments).areas().tolist() == [3, 0, 1]


@pytest.mark.parametrize('form', [lambda s: s, as_masks, as_bits])
def test_drop_empty_keeps_what_has_pixels(form):
    segments = SegmentMap(torch.tensor([7, 3, 4]), map=torch.tensor([[0, 0, -1], [2, 0, -1]]))
    kept = form(segments).drop_empty()
    assert kept.labels.tolist() == [7, 4]
    assert torch.equal(kept.dense(), segments.dense()[[0, 2]])


@pytest.mark.parametrize('form', [lambda s: s, as_masks, as_bits])
def test_sampling_equals_grid_sample_of_padded_masks(form):
    size = (12, 20)
    maps = [random_map(5), SegmentMap(torch.zeros(0).long(), map=torch.full((4, 4), -1)),
            random_map(3, (12, 20), 1)]
    batch = SegmentBatch([form(s) for s in maps], size)
    points = torch.rand(3, 50, 2) * 1.2 - 0.1
    found = batch.sample_all(points)
    image = torch.tensor([0, 2, 0])
    segment = torch.tensor([4, 1, 0])
    pairs = batch.sample_pairs(points, image, segment)
    for b, segments in enumerate(maps):
        dense = F.pad(segments.dense().float(),
                      (0, size[1] - segments.shape[1], 0, size[0] - segments.shape[0]))
        if not len(dense):
            assert not found[b].any()
            continue
        grid = (2 * points - 1)[:, :, None]
        expected = F.grid_sample(dense[None], grid[b:b + 1], align_corners=False)[0, ..., 0]
        torch.testing.assert_close(found[b, :, :len(dense)].T, expected, atol=1e-5, rtol=0)
        assert not found[b, :, len(dense):].any()
        for row in (image == b).nonzero()[:, 0]:
            expected = F.grid_sample(
                dense[segment[row]][None, None], grid[row:row + 1], align_corners=False)
            torch.testing.assert_close(pairs[row], expected[0, 0, :, 0], atol=1e-5, rtol=0)


def test_bad_arguments_are_refused():
    labels, index = torch.zeros(1).long(), torch.zeros(2, 2).int()
    with pytest.raises(ValueError, match='exactly one'):
        SegmentMap(labels)
    with pytest.raises(ValueError, match='exactly one'):
        SegmentMap(labels, map=index, masks=index[None].bool())
    with pytest.raises(ValueError, match='N = 1'):
        SegmentMap(labels, masks=torch.zeros(2, 3, 3).bool())
    with pytest.raises(ValueError, match='larger than'):
        SegmentBatch([SegmentMap(labels, map=index)], (1, 2))


@pytest.mark.parametrize('form', [lambda s: s, as_masks, as_bits])
def test_every_nth_pixel_of_the_padded_masks(form):
    maps = [random_map(5), random_map(3, (12, 20), 1)]
    batch = SegmentBatch([form(s) for s in maps], (12, 21))
    generator = torch.Generator().manual_seed(0)
    for segments, taken in zip(maps, batch.strided_pixels(4), strict=True):
        height, width = segments.shape
        padded = F.pad(segments.dense(), (0, 21 - width, 0, 12 - height))
        expected = padded[:, ::4, ::4].flatten(1)
        assert taken.count == len(segments) and torch.equal(taken.masks_at(), expected)
        some, pixels = torch.tensor([2, 0]), torch.randint(18, (7, ), generator=generator)
        assert torch.equal(taken.masks_at(some), expected[some])
        assert torch.equal(taken.masks_at(pixel=pixels), expected[:, pixels])
        assert torch.equal(taken.masks_at(some, pixels), expected[some][:, pixels])


@pytest.mark.parametrize('form', [lambda s: s, as_masks])
def test_some_segments_of_an_image_at_points(form):
    maps = [random_map(5), random_map(3, (12, 20), 1)]
    batch = SegmentBatch([form(s) for s in maps], (12, 21))
    points = torch.rand(11, 2, generator=torch.Generator().manual_seed(0))
    every = batch.sample_all(points.expand(2, -1, -1))
    for image, some in enumerate(([3, 0, 4], [1])):
        some = torch.tensor(some)
        torch.testing.assert_close(
            batch.sample_some(points, image, some), every[image, :, some].T)
    assert batch.sample_some(points, 0, some[:0]).shape == (0, 11)


def test_masks_of_a_map():
    segments = random_map()
    assert torch.equal(segments.masks, segments.dense())
    assert as_masks(segments).map is None and segments.map is not None


@pytest.mark.parametrize('width', [1, 7, 8, 9, 30])
def test_bits_are_the_masks(width):
    segments = random_map(6, (5, width))
    packed = as_bits(segments)
    assert packed.map is None and packed.shape == (5, width) and len(packed) == 6
    assert torch.equal(packed.masks, segments.dense()) and packed.masks.dtype == torch.bool
    assert torch.equal(packed.cpu().masks, segments.dense())
    assert packed.to('meta').masks.shape == (6, 5, width)
