"""Large-scale jitter: sizes and places it draws, image and map alike."""
import numpy as np
import pytest

from mmpanseg.datasets.transforms import FilterLabeledPixels, LargeScaleJitter


def sample(height=40, width=60):
    """An image whose red channel tells the column, and a map that tells the same."""
    columns = np.tile(np.arange(width), (height, 1))
    return dict(img=np.stack([columns] * 3, -1).astype(np.uint8), img_shape=(height, width),
                gt_seg_map=columns.astype(np.int32), gt_segment_labels=np.zeros(width, int))


def test_sizes_and_flips():
    np.random.seed(0)
    jitter = LargeScaleJitter((32, 48), (0.5, 2.0))
    scales, flips = [], 0
    for _ in range(300):
        results = jitter(sample())
        height, width = results['img'].shape[:2]
        assert results['gt_seg_map'].shape == results['img_shape'] == (height, width)
        assert results['gt_seg_map'].dtype == np.int32
        # the box 32 x 48 fits the image at factor 0.8
        scale = results['scale'][0] / 48
        assert (height, width) == pytest.approx(
            (min(32 * scale, 32), min(48 * scale, 48)), abs=1.1)
        scales.append(scale)
        flips += results['flip']
        # map and image still show the same places
        difference = results['img'][..., 0] - results['gt_seg_map'].astype(float)
        assert np.abs(difference).max() <= 2
    assert min(scales) < 0.55 and max(scales) > 1.95
    assert np.mean(scales) == pytest.approx(1.25, abs=0.08)
    assert flips / 300 == pytest.approx(0.5, abs=0.1)


def test_crops_lie_anywhere():
    np.random.seed(0)
    jitter = LargeScaleJitter((32, 48), (2.0, 2.0), flip_prob=0)
    first = [int(jitter(sample())['gt_seg_map'][0, 0]) for _ in range(200)]
    assert min(first) == 0 and max(first) == 30


def test_filter():
    results = dict(gt_seg_map=np.full((16, 16), -1, np.int32), gt_segment_labels=np.arange(5, 8))
    results['gt_seg_map'][1:8, 4] = 0
    results['gt_seg_map'][9:12] = 1
    results['gt_seg_map'][12:15] = 2
    # pixel (4, 4) of segment 0, nothing of segment 1, four pixels of segment 2
    assert FilterLabeledPixels(5, stride=4)(dict(results)) is None
    ours = FilterLabeledPixels(4, stride=4)(dict(results))
    assert ours['gt_segment_labels'].tolist() == [5, 7]
    assert np.array_equal(ours['gt_seg_map'] == 1, results['gt_seg_map'] == 2)
    assert (ours['gt_seg_map'][9:12] == -1).all()
