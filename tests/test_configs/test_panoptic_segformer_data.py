"""Images that Panoptic SegFormer trains on, against the published recipe."""
import numpy as np
import pytest
from mmengine.config import Config

from mmpanseg.registry import DATASETS

SHORT = set(range(480, 801, 32))


def read(repo_root, shared, name, count, image):
    """Packed samples of a base config's training pipeline, from one of the sample images."""
    config = Config.fromfile(repo_root / f'configs/_base_/datasets/{name}.py')
    sample = Config.fromfile(repo_root / 'configs/_base_/datasets/coco_panoptic_sample.py')
    files = sample.train_dataloader.dataset
    dataset = DATASETS.build(dict(
        type=files.type, ann_file=files.ann_file, data_prefix=files.data_prefix,
        data_root=str(shared / 'data/coco_panoptic_sample'),
        pipeline=config.train_dataloader.dataset.pipeline))
    return dataset, [dataset[image] for _ in range(count)]


def whole_sizes(info):
    """Sizes of an image that is not cropped: short side as drawn, long side at most 1333."""
    height, width = info['height'], info['width']
    factors = [min(short / min(height, width), 1333 / max(height, width)) for short in SHORT]
    return {(int(height * f + 0.5), int(width * f + 0.5)) for f in factors}


@pytest.mark.parametrize('image', [0, 1])
def test_half_of_the_images_are_cropped(repo_root, shared, image):
    np.random.seed(0)
    dataset, samples = read(repo_root, shared, 'coco_panoptic_multiscale_crop', 16, image)
    sizes = [tuple(sample['inputs'].shape[1:]) for sample in samples]
    cropped = [size for size in sizes if size not in whole_sizes(dataset.get_data_info(image))]
    assert 3 <= len(cropped) <= 13 and len(set(sizes)) > 8
    for size in cropped:
        assert min(size) in SHORT or max(size) == 1333
        # a window of 384 - 600 pixels a side
        assert max(size) / min(size) <= 600 / 384 + 0.01
    for sample in samples:
        segments = sample['data_samples'].gt_segments
        assert segments.shape == tuple(sample['inputs'].shape[1:])
        assert (segments.areas() > 0).all()
    assert {sample['data_samples'].flip for sample in samples} == {False, True}


def test_scales_alone(repo_root, shared):
    np.random.seed(0)
    dataset, samples = read(repo_root, shared, 'coco_panoptic_multiscale', 12, 0)
    sizes = {tuple(sample['inputs'].shape[1:]) for sample in samples}
    assert sizes <= whole_sizes(dataset.get_data_info(0)) and len(sizes) > 4


def test_images_without_segments_stay(repo_root):
    config = Config.fromfile(
        repo_root / 'configs/_base_/datasets/coco_panoptic_multiscale_crop.py')
    assert config.train_dataloader.dataset.filter_cfg == dict(filter_empty_gt=False, min_size=32)
