"""LoadPanopticMap against a slow definition, and its errors."""
import cv2
import numpy as np
import pytest

from mmpanseg.datasets import LoadPanopticMap
from mmpanseg.datasets.transforms.loading_panoptic import index_segments


def _load(tiny, **changes):
    results = dict(
        img_path='a.png', ori_shape=(6, 8), seg_map_path=str(tiny.root / 'seg/a.png'),
        segments_info=[dict(id=70000, category=4), dict(id=9, category=2),
                       dict(id=300, category=1)])
    return LoadPanopticMap()(results | changes)


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('blocky', [True, False])
def test_equals_the_slow_definition(seed, blocky):
    rng = np.random.default_rng(seed)
    segment_ids = rng.choice(1 << 24, 40, replace=False) + 1
    segments = [dict(id=int(i), iscrowd=int(k % 5 == 2)) for k, i in enumerate(segment_ids)]
    ids = rng.choice(np.append(segment_ids, 0), (20, 30))
    ids[0, 0] = 0
    # every listed segment must have a pixel
    ids.flat[rng.choice(np.arange(1, 600), 40, replace=False)] = segment_ids
    if blocky:
        ids = np.kron(ids, np.ones((3, 4), ids.dtype))
    expected = np.full(ids.shape, -1)
    for k, s in enumerate([s for s in segments if not s['iscrowd']]):
        expected[ids == s['id']] = k
    result = index_segments(ids.astype(np.uint32), segments, 'x.png')
    assert result.dtype == np.int32
    assert np.array_equal(result, expected)


def test_result_keys(tiny):
    results = _load(tiny)
    expected = np.select([tiny.ids == i for i in (70000, 9, 300)], [0, 1, 2], -1)
    assert np.array_equal(results['gt_seg_map'], expected)
    assert results['gt_segment_labels'].tolist() == [4, 2, 1]
    assert results['gt_segment_labels'].dtype == np.int64


def test_plain_image_is_left_alone():
    assert LoadPanopticMap()(dict(img_path='x.jpg')) == dict(img_path='x.jpg')


def test_no_ground_truth_is_void():
    results = LoadPanopticMap()(dict(seg_map_path=None, height=3, width=5, segments_info=[]))
    assert results['gt_seg_map'].shape == (3, 5) and (results['gt_seg_map'] == -1).all()
    assert results['gt_segment_labels'].shape == (0, )


def test_segment_without_pixel(tiny):
    segments = [dict(id=i, category=0) for i in (70000, 9, 12345, 300)]
    with pytest.raises(ValueError, match='seg/a.png: segment 12345 .* no pixel'):
        _load(tiny, segments_info=segments)


def test_pixels_of_an_unlisted_segment(tiny):
    segments = [dict(id=i, category=0) for i in (70000, 9)]
    with pytest.raises(ValueError, match='seg/a.png: 8 pixels have id 300'):
        _load(tiny, segments_info=segments)


@pytest.mark.parametrize('extra', [9, 0])
def test_id_listed_twice(tiny, extra):
    segments = [dict(id=i, category=0) for i in (70000, 9, 300, extra)]
    with pytest.raises(ValueError, match=f'seg/a.png: segment id {extra} is listed twice'):
        _load(tiny, segments_info=segments)


def test_size_of_the_image(tiny):
    with pytest.raises(ValueError, match='seg/a.png is 8x6, its image a.png is 9x6'):
        _load(tiny, ori_shape=(6, 9))


def test_image_may_be_resized_before(tiny):
    assert np.array_equal(
        _load(tiny, img_shape=(3, 4))['gt_seg_map'], _load(tiny)['gt_seg_map'])


@pytest.mark.parametrize('image', [
    np.zeros((6, 8), np.uint8), np.zeros((6, 8, 4), np.uint8), np.zeros((6, 8, 3), np.uint16)])
def test_png_of_another_kind(tiny, image):
    cv2.imwrite(str(tiny.root / 'seg/a.png'), image)
    with pytest.raises(ValueError, match='seg/a.png'):
        _load(tiny)
