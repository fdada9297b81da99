"""Masks of instances in pickles and in mmdet's inferencer, dense or as run lengths."""
import warnings

import numpy as np
import pytest
import torch
from mmdet.apis import DetInferencer
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData, PixelData
from pycocotools import mask as rle_tools

from mmpanseg.engine import DumpResults


def sample(mask_format: str, count: int = 2) -> tuple[DetDataSample, np.ndarray]:
    """A data sample with instances, and their masks."""
    masks = np.random.default_rng(0).random((count, 6, 9)) > 0.5
    found = InstanceData(
        labels=torch.zeros(count, dtype=torch.long), scores=torch.ones(count),
        bboxes=torch.ones(count, 4))
    found.masks = torch.from_numpy(masks) if mask_format == 'dense' else [
        rle_tools.encode(np.asfortranarray(mask).view(np.uint8)) for mask in masks]
    pan = PixelData(sem_seg=torch.zeros(1, 6, 9, dtype=torch.int32))
    return DetDataSample(metainfo=dict(ori_shape=(6, 9), img_path='a.png'), pred_instances=found,
                         pred_panoptic_seg=pan, gt_segments=InstanceData()), masks


@pytest.mark.parametrize('mask_format', ['dense', 'rle'])
def test_masks_in_the_pickle(tmp_path, mask_format):
    data_sample, masks = sample(mask_format)
    metric = DumpResults(out_file_path=str(tmp_path / 'r.pkl'))
    with warnings.catch_warnings():
        warnings.simplefilter('error')  # mmdet advises against panoptic maps
        metric.process({}, [data_sample.to_dict()])
        metric.evaluate(1)
    found, = np.load(tmp_path / 'r.pkl', allow_pickle=True)
    assert 'gt_segments' not in found and found['pred_panoptic_seg']['sem_seg'].shape == (1, 6, 9)
    decoded = [rle_tools.decode(mask) for mask in found['pred_instances']['masks']]
    np.testing.assert_array_equal(decoded, masks)


@pytest.mark.parametrize('count', [2, 0])
def test_inferencer_of_mmdet_takes_run_lengths(count):
    inferencer = DetInferencer.__new__(DetInferencer)
    dense, rle = (sample(mask_format, count)[0] for mask_format in ('dense', 'rle'))
    for data_sample in (dense, rle):
        del data_sample.pred_panoptic_seg
    expected = inferencer.pred2dict(dense)
    assert inferencer.pred2dict(rle) == expected and len(expected['masks']) == count
    assert len(rle.pred_instances.masks) == count and isinstance(rle.pred_instances.masks, list)
