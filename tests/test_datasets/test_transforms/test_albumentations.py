"""Every transform of albumentations inside of mmdet's Albu: the map follows, or it is an error."""
import inspect
import random

import numpy as np
import pytest
from mmdet.registry import TRANSFORMS

from mmpanseg.datasets.transforms.following import check_following, probe_sample, shows_others
from mmpanseg.datasets.transforms.foreign_transforms import adapt_transforms

albumentations = pytest.importorskip('albumentations', reason='needs albumentations')

SIZE = dict(height=70, width=60)
OPTIONS = dict(
    AtLeastOneBBoxRandomCrop=SIZE, CenterCrop=SIZE, Crop=dict(x_max=60, y_max=50),
    CropAndPad=dict(percent=0.1), CropNonEmptyMaskIfExists=SIZE,
    LongestMaxSize=dict(max_size=130), Pad=dict(padding=20),
    PadIfNeeded=dict(min_height=200, min_width=200), RandomCrop=SIZE,
    RandomResizedCrop=dict(size=(70, 60)),
    RandomSizedCrop=dict(min_max_height=(40, 80), size=(70, 60)),
    Resize=dict(height=150, width=130), SmallestMaxSize=dict(max_size=130))
# of volumes and boxes, and those that need further images or files
UNABLE = {
    'BBoxSafeRandomCrop', 'CenterCrop3D', 'ConstrainedCoarseDropout', 'CoarseDropout3D',
    'CubicSymmetry', 'DualTransform', 'FDA', 'GridElasticDeform', 'HistogramMatching',
    'ImageOnlyTransform', 'Mosaic', 'OverlayElements', 'Pad3D', 'PadIfNeeded3D',
    'PixelDistributionAdaptation', 'RandomCrop3D', 'RandomCropNearBBox',
    'RandomSizedBBoxSafeCrop', 'TextImage'}


@pytest.mark.slow
@pytest.mark.parametrize('kind', sorted(
    name for name, kind in vars(albumentations).items()
    if inspect.isclass(kind) and issubclass(kind, (
        albumentations.DualTransform, albumentations.ImageOnlyTransform)) and name not in UNABLE))
def test_maps_follow(kind):
    albu = dict(type='Albu', transforms=[dict(type=kind, p=1.0, **OPTIONS.get(kind, {}))])
    step = adapt_transforms([TRANSFORMS.build(albu)])[0]
    for seed in range(3):
        random.seed(seed)
        np.random.seed(seed)
        sample, colors = probe_sample(seed)
        results = step(sample)
        index = results['gt_seg_map']
        assert index.shape == results['img'].shape[:2]
        assert index.min() >= -1 and index.max() < len(colors)
        assert not shows_others(results['img'], index, colors)
    check_following([step])
