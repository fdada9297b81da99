"""PackPanopticInputs."""
import numpy as np
import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks, PolygonMasks

from mmpanseg.datasets import PackPanopticInputs


def _results():
    index = np.array([[0, 0, -1], [2, 2, 2]], np.int32)
    return dict(img=np.arange(18, dtype=np.uint8).reshape(2, 3, 3), gt_seg_map=index,
                gt_segment_labels=np.array([7, 8, 9]), img_id=4, img_shape=(2, 3), other=1)


def test_empty_segments_stay_unless_told():
    segments = PackPanopticInputs()(_results())['data_samples'].gt_segments
    assert segments.labels.tolist() == [7, 8, 9]
    assert segments.areas().tolist() == [2, 0, 3]
    segments = PackPanopticInputs(drop_empty=True)(_results())['data_samples'].gt_segments
    assert segments.labels.tolist() == [7, 9]
    assert segments.map.tolist() == [[0, 0, -1], [1, 1, 1]]


def test_flipped_map_and_metainfo():
    results = _results()
    results['gt_seg_map'] = results['gt_seg_map'][:, ::-1]
    packed = PackPanopticInputs()(results)
    assert packed['inputs'].shape == (3, 2, 3) and packed['inputs'].dtype == torch.uint8
    sample = packed['data_samples']
    assert sample.metainfo == dict(img_id=4, img_shape=(2, 3))
    assert sample.gt_segments.map.tolist() == [[-1, 0, 0], [2, 2, 2]]
    assert 'gt_sem_seg' not in sample


def test_segments_move_with_the_sample():
    sample = PackPanopticInputs()(_results())['data_samples'].to('meta')
    assert sample.gt_segments.map.device.type == 'meta'


def test_plain_image():
    results = _results()
    del results['gt_seg_map'], results['gt_segment_labels']
    assert 'gt_segments' not in PackPanopticInputs()(results)['data_samples']


def _instances():
    """Two overlapping masks and a crowd, as mmdet's LoadAnnotations gives them."""
    masks = np.zeros((3, 4, 6), np.uint8)
    masks[0, 1:3, 1:4] = masks[1, 2:, 2:] = masks[2, 0] = 1
    return masks, dict(
        img=np.zeros((4, 6, 3), np.uint8), img_shape=(4, 6), gt_masks=BitmapMasks(masks, 4, 6),
        gt_bboxes=HorizontalBoxes(np.zeros((3, 4), np.float32)),
        gt_bboxes_labels=np.array([5, 1, 2]), gt_ignore_flags=np.array([False, False, True]))


def test_instance_masks_may_overlap_and_crowds_are_left_out():
    masks, results = _instances()
    sample = PackPanopticInputs()(results)['data_samples']
    assert sample.gt_segments.labels.tolist() == [5, 1]
    assert sample.gt_segments.masks.dtype == torch.bool
    assert np.array_equal(sample.gt_segments.masks.numpy(), masks[:2].astype(bool))
    assert 'gt_instances' not in sample or len(sample.gt_instances) == 0


def test_polygons_become_masks():
    _, results = _instances()
    square = np.array([1., 1, 4, 1, 4, 3, 1, 3])
    results['gt_masks'] = PolygonMasks([[square], [square, square + 1], [square]], 4, 6)
    segments = PackPanopticInputs()(results)['data_samples'].gt_segments
    assert segments.shape == (4, 6)
    assert segments.masks[0, 1:3, 1:4].all() and segments.areas()[0] == 6
    assert segments.areas()[1] > 6


def test_flipped_masks():
    masks, results = _instances()
    results['gt_masks'] = results['gt_masks'].flip('horizontal')
    segments = PackPanopticInputs()(results)['data_samples'].gt_segments
    assert np.array_equal(segments.masks.numpy(), masks[:2, :, ::-1].astype(bool))


@pytest.mark.parametrize('ignored', [[True] * 3, []])
def test_no_instance_that_counts(ignored):
    _, results = _instances()
    results['gt_masks'] = results['gt_masks'][np.arange(len(ignored))]
    results['gt_ignore_flags'] = np.array(ignored, bool)
    results['gt_bboxes_labels'] = results['gt_bboxes_labels'][:len(ignored)]
    segments = PackPanopticInputs()(results)['data_samples'].gt_segments
    assert len(segments) == 0 and segments.shape == (4, 6)


def test_empty_instances():
    masks, results = _instances()
    results['gt_masks'].masks[0] = 0
    assert len(PackPanopticInputs()(dict(results))['data_samples'].gt_segments) == 2
    segments = PackPanopticInputs(drop_empty=True)(results)['data_samples'].gt_segments
    assert segments.labels.tolist() == [1]


def test_map_and_masks_together():
    _, results = _instances()
    results |= dict(gt_seg_map=np.zeros((4, 6), np.int32), img_path='a.jpg')
    with pytest.raises(ValueError, match='a.jpg: the pipeline loads both'):
        PackPanopticInputs()(results)


def test_map_of_labels():
    """As mmdet's LoadAnnotations(with_seg=True) leaves it."""
    results = _results() | dict(img_path='a.jpg')
    del results['gt_segment_labels']
    with pytest.raises(ValueError, match='a.jpg: its map is one of labels.*LoadSemanticMap'):
        PackPanopticInputs()(results)
