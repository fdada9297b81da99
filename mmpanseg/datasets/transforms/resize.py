"""Resizing of very thin images."""
import copy

import mmdet.datasets.transforms
import numpy as np
from mmcv.image.geometric import rescale_size
from mmdet.registry import TRANSFORMS as MMDET_TRANSFORMS

from mmpanseg.datasets.transforms.channel_groups import by_groups


@MMDET_TRANSFORMS.register_module(force=True)
class Resize(mmdet.datasets.transforms.Resize):
    """Replacement of mmdet's class that keeps at least one pixel of both sides.

    Images with one channel keep their third axis, and those with more than four are resized too.

    The shorter side of an image of 5000 x 2 pixels would be rounded to 0, which OpenCV refuses.
    Other images are resized as by mmdet's class. Arguments are those of mmdet's class.
    """

    def _resize_img(self, results: dict) -> None:
        image = results.get('img')
        if image is None or image.ndim == 2 or image.shape[2] in (2, 3, 4):
            return super()._resize_img(results)
        # OpenCV drops the axis of one channel, and has no interpolation 'area' of more than 4
        sample = dict(results)

        def resized(part: np.ndarray) -> np.ndarray:
            sample['img'] = part
            super(Resize, self)._resize_img(sample)
            return sample['img']

        image = by_groups(resized, image)
        results.update(sample, img=image)

    def transform(self, results: dict) -> dict:
        if results.get('img') is None:
            return super().transform(results)
        height, width = results['img'].shape[:2]
        # as mmdet's class computes it
        size = self.scale or tuple(int(side * factor + 0.5) for side, factor in zip(
            (width, height), self.scale_factor))
        if self.keep_ratio and min(size) > 0:
            size = rescale_size((width, height), tuple(size))
        if min(size) > 0:
            return super().transform(results)
        free = copy.copy(self)
        free.keep_ratio, free.scale = False, tuple(max(1, side) for side in size)
        return free.transform(results)
