"""LoadSemanticMap: every kind of file that real downloads have, and its errors."""
import cv2
import numpy as np
import pytest
from PIL import Image

from mmpanseg.datasets import LoadSemanticMap

VALUES = np.array([[7, 7, 2, 2], [7, 255, 255, 0], [2, 2, 0, 0]], np.uint8)
LABELS = np.where(VALUES == 255, -1, VALUES.astype(int))


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'labels.png'


def _load(path, loader=None, **changes):
    results = dict(img_path='a.jpg', ori_shape=(3, 4), seg_map_path=str(path), num_classes=8)
    return (loader or LoadSemanticMap())(results | changes)


def _labels(results):
    """Label of each pixel, -1 = void."""
    return np.append(results['gt_segment_labels'], -1)[results['gt_seg_map']]


def _save(path, values):
    Image.fromarray(values).save(path)
    return path


def test_one_segment_for_each_class_present(path):
    results = _load(_save(path, VALUES))
    assert results['gt_segment_labels'].tolist() == [0, 2, 7]
    assert results['gt_segment_labels'].dtype == np.int64
    assert results['gt_seg_map'].dtype == np.int32
    assert np.array_equal(_labels(results), LABELS)


def test_palette_indices_are_labels(path):
    image = Image.fromarray(VALUES).convert('P')
    image.putdata(VALUES.ravel().tolist())
    image.putpalette(np.random.default_rng(0).integers(0, 255, 768).tolist())
    image.save(path)
    assert Image.open(path).mode == 'P'
    assert np.array_equal(_labels(_load(path)), LABELS)


def test_16_bit_values(path):
    wide = np.where(VALUES == 7, np.uint16(40000), VALUES)
    results = _load(_save(path, wide), label_map={40000: 7})
    assert np.array_equal(_labels(results), LABELS)


def test_label_map_and_ignore_index_of_the_data_set(path):
    results = _load(_save(path, VALUES), label_map={7: 1, 0: 9}, ignore_index=9, num_classes=256)
    expected = np.select([VALUES == 7, VALUES == 0], [1, -1], VALUES.astype(int))
    assert np.array_equal(_labels(results), expected)


def test_arguments_come_before_the_data_set(path):
    loader = LoadSemanticMap(label_map={7: 3}, ignore_index=2)
    results = _load(_save(path, VALUES), loader, label_map={7: 1}, ignore_index=255,
                    num_classes=256)
    expected = np.select([VALUES == 7, VALUES == 2], [3, -1], VALUES.astype(int))
    assert np.array_equal(_labels(results), expected)


def test_zero_may_mean_other(path):
    results = _load(_save(path, VALUES), LoadSemanticMap(reduce_zero_label=True))
    expected = np.where(VALUES == 255, -1, VALUES.astype(int) - 1)
    assert results['gt_segment_labels'].tolist() == [1, 6]
    assert np.array_equal(_labels(results), expected)


def test_everything_ignored(path):
    results = _load(_save(path, np.full((3, 4), 255, np.uint8)))
    assert (results['gt_seg_map'] == -1).all() and len(results['gt_segment_labels']) == 0


def test_no_ground_truth_is_void_and_plain_images_are_left_alone():
    results = LoadSemanticMap()(dict(seg_map_path=None, ori_shape=(3, 5), num_classes=8))
    assert results['gt_seg_map'].shape == (3, 5) and (results['gt_seg_map'] == -1).all()
    assert results['gt_segment_labels'].shape == (0, )
    assert LoadSemanticMap()(dict(img_path='x.jpg')) == dict(img_path='x.jpg')


def test_image_may_be_resized_before(path):
    assert np.array_equal(_labels(_load(_save(path, VALUES), img_shape=(30, 40))), LABELS)


def test_several_channels(path):
    cv2.imwrite(str(path), np.zeros((3, 4, 3), np.uint8))
    with pytest.raises(ValueError, match='labels.png has 3 channels; it must have one'):
        _load(path)


def test_size_of_the_image(path):
    with pytest.raises(ValueError, match='labels.png is 4x3, its image a.jpg is 4x5'):
        _load(_save(path, VALUES), ori_shape=(5, 4))


def test_value_that_is_no_label(path):
    with pytest.raises(ValueError, match=r'labels.png has the value\(s\) \[7\].*the 6 classes'):
        _load(_save(path, VALUES), num_classes=6)


def test_missing_file(path):
    with pytest.raises(FileNotFoundError, match='labels.png does not exist'):
        _load(path)


@pytest.mark.parametrize('content', [b'', b'no image'])
def test_damaged_file(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match='labels.png is no readable image'):
        _load(path)


def test_damaged_in_the_middle(path):
    content = _save(path, np.random.default_rng(0).integers(0, 8, (3, 4), np.uint8)).read_bytes()
    path.write_bytes(content[:len(content) // 2])
    with pytest.raises(ValueError, match='labels.png is no readable image'):
        _load(path)
