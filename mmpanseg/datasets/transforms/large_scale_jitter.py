"""Large-scale jitter, and a filter for samples with few labeled pixels."""
import numpy as np
from mmcv.transforms import BaseTransform, Compose

from mmpanseg.registry import TRANSFORMS
from mmpanseg.structures import VOID


@TRANSFORMS.register_module()
class LargeScaleJitter(BaseTransform):
    """Random scale, random crop and random flip of an image and its index map.

    The image is resized so that it fits a box of s x ``size``, s uniform in ``scale_range``, and
    cropped to at most ``size`` (Ghiasi et al., CVPR 2021; kMaX-DeepLab's range is 0.2 .. 2).
    Nothing is padded. Made of mmcv's ``RandomResize`` and mmdet's ``RandomCrop`` and
    ``RandomFlip``.

    Args:
        size: (H, W), largest size of the result in pixels.
        scale_range: smallest and largest s.
        flip_prob: probability of a horizontal flip.
    """

    def __init__(self, size: tuple[int, int], scale_range: tuple[float, float] = (0.2, 2.0),
                 flip_prob: float = 0.5) -> None:
        self.size, self.scale_range, self.flip_prob = tuple(size), tuple(scale_range), flip_prob
        # mmcv and mmdet expect (width, height)
        box = self.size[::-1]
        self.transforms = Compose([
            dict(type='RandomResize', scale=box, ratio_range=self.scale_range,
                 resize_type='mmdet.Resize', keep_ratio=True),
            dict(type='mmdet.RandomCrop', crop_size=box, crop_type='absolute',
                 allow_negative_crop=True),
            dict(type='mmdet.RandomFlip', prob=float(flip_prob))])

    def transform(self, results: dict) -> dict | None:
        return self.transforms(results)

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(size={self.size}, scale_range={self.scale_range}, '
                f'flip_prob={self.flip_prob})')


@TRANSFORMS.register_module()
class FilterLabeledPixels(BaseTransform):
    """Reject samples with few labeled pixels at the stride of the masks.

    The data set then loads another sample. Segments without a pixel at that stride become void.

    Args:
        min_pixels: samples with this number of labeled pixels or fewer are rejected (published:
            4096 at stride 4).
        stride: every ``stride``-th row and column is counted, from the first one.
    """

    def __init__(self, min_pixels: int = 4096, stride: int = 4) -> None:
        self.min_pixels, self.stride = min_pixels, stride
        # reason of the last rejection
        self.reason: str | None = None

    def transform(self, results: dict) -> dict | None:
        index_map, labels = results['gt_seg_map'], results['gt_segment_labels']
        part = index_map[::self.stride, ::self.stride]
        size, part = part.shape, part[part != VOID]
        if len(part) <= self.min_pixels:
            self.reason = (f'{len(part)} labeled pixels of {size[0]}x{size[1]}, more than '
                           f'{self.min_pixels} needed')
            return None
        keep = np.bincount(part, minlength=len(labels)) > 0
        if not keep.all():
            results['gt_seg_map'], results['gt_segment_labels'] = select_segments(
                index_map, labels, keep)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(min_pixels={self.min_pixels}, stride={self.stride})'


def select_segments(index_map: np.ndarray, labels: np.ndarray,
                    keep: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Make all segments void that are not kept.

    Args:
        index_map: index of the segment of each pixel, int32 [H, W], -1 = void.
        labels: labels of the segments [N].
        keep: segments to keep, bool [N].

    Returns:
        index map int32 [H, W] and labels [n] of the n segments that are kept, in the same order.
    """
    new_index = np.append(np.where(keep, keep.cumsum() - 1, VOID), VOID).astype(np.int32)
    # index -1 reads the last entry
    return new_index[index_map], labels[keep]
