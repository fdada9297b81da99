"""PackPanopticInputs."""
import numpy as np
import torch

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
