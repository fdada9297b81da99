"""Panoptic copy-paste on index maps.

H, W: height and width of the canvas; N: number of segments.
"""
from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform, Compose

from mmpanseg.datasets.transforms.large_scale_jitter import select_segments
from mmpanseg.registry import TRANSFORMS
from mmpanseg.structures import VOID


@TRANSFORMS.register_module()
class PanopticCopyPaste(BaseTransform):
    """Paste the things and a random subset of the other segments of a second image onto the first.

    The augmentation of kMaX-DeepLab. The non-crowd segments of the second image are shuffled and
    the first n selected, n uniform in 0 .. N; its things are always selected. Pixels and labels of
    the selected segments are pasted. Stuff of the same class is merged to one segment, and
    segments that are completely covered are removed.

    Part of the pipeline of :class:`mmpanseg.datasets.ResamplingMixDataset`, which adds the second
    sample. Both images are placed at the top left of a canvas. ``real_pixels``, bool [H, W], marks
    the pixels of images, which :class:`PackPanopticInputs` keeps; other pixels of ``img`` are 0.

    Args:
        size: (H, W) of the canvas in pixels.
        transforms: configs of the transforms of the second image.

    Raises:
        KeyError: there is no second sample.
        ValueError: an image is larger than the canvas or has no index map.
    """

    def __init__(self, size: tuple[int, int], transforms: Sequence[dict] = ()) -> None:
        self.size = tuple(size)
        self.transforms = Compose(list(transforms))

    def get_indexes(self, dataset: Sequence) -> int:
        """Return the random index of the sample to paste from."""
        return np.random.randint(len(dataset))

    def _draw(self, num_segments: int) -> np.ndarray:
        """Return the random segments that are selected even if they are stuff."""
        keep = np.random.randint(num_segments + 1)
        return np.random.permutation(num_segments)[:keep]

    def transform(self, results: dict) -> dict | None:
        """Transform a sample; None if the transforms of the second image reject it."""
        if not results.get('mix_results'):
            raise KeyError('PanopticCopyPaste needs a second sample under "mix_results": wrap the '
                           'dataset as dict(type="mmpanseg.ResamplingMixDataset", dataset=..., '
                           'pipeline=[..., PanopticCopyPaste, ...])')
        second = self.transforms(results.pop('mix_results')[0])
        if second is None:
            return None
        image, index_map, real = self._canvas(results)
        other_image, other_map, other_real = self._canvas(second)
        if other_image.shape != image.shape:
            raise ValueError(
                f'{second.get("img_path")} has {_channels(other_image)} channels, '
                f'{results.get("img_path")} {_channels(image)}: all images of a data set must have '
                'the same; select some with mmpanseg.LoadChannels(channels=(...))')
        labels, other_labels = results['gt_segment_labels'], second['gt_segment_labels']
        things, other_things = _things(results), _things(second)

        pasted = other_things.copy()
        pasted[self._draw(len(other_labels))] = True
        # the appended entry is that of index -1, void
        where = np.append(pasted, False)[other_map]
        image[where] = other_image[where]
        real[where] = other_real[where]
        index_map[where] = other_map[where] + len(labels)
        results['gt_seg_map'], results['gt_segment_labels'] = merge_stuff(
            index_map, np.concatenate([labels, other_labels]),
            np.concatenate([things, other_things]))
        results.update(img=image, real_pixels=real, img_shape=self.size)
        return results

    def _canvas(self, results: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return image, index map and mask of real pixels at the size of the canvas."""
        if 'gt_seg_map' not in results:
            raise ValueError(
                f'{results.get("img_path")}: PanopticCopyPaste needs a map of segments; load it '
                'with mmpanseg.LoadPanopticMap. For the masks of instances there is mmdet\'s '
                'CopyPaste behind LoadAnnotations(with_bbox=True, with_mask=True)')
        height, width = results['img'].shape[:2]
        if height > self.size[0] or width > self.size[1]:
            raise ValueError(
                f'{results.get("img_path")} has {height}x{width} pixels, the canvas of '
                f'PanopticCopyPaste {self.size[0]}x{self.size[1]}: crop first '
                '(mmpanseg.LargeScaleJitter)')
        inside = np.s_[:height, :width]
        image = np.zeros((*self.size, *results['img'].shape[2:]), results['img'].dtype)
        index_map = np.full(self.size, VOID, np.int32)
        real = np.zeros(self.size, bool)
        image[inside], index_map[inside], real[inside] = (
            results['img'], results['gt_seg_map'], True)
        return image, index_map, real

    def __repr__(self) -> str:
        return f'{type(self).__name__}(size={self.size}, transforms={self.transforms})'


def _channels(image: np.ndarray) -> int:
    return image.shape[2] if image.ndim == 3 else 1


def _things(results: dict) -> np.ndarray:
    """Return which of the segments of a sample are things, bool [N]."""
    things = {s['category'] for s in results['segments_info'] if s['is_thing']}
    return np.asarray([label in things for label in results['gt_segment_labels']], bool)


def merge_stuff(index_map: np.ndarray, labels: np.ndarray,
                things: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Merge stuff segments of the same class and remove segments without pixels.

    Args:
        index_map: index of the segment of each pixel, int32 [H, W], -1 = void.
        labels: labels of the segments, int64 [N].
        things: whether each segment is a thing, bool [N].

    Returns:
        index map and labels in the same order; a merged segment has the index of its first part.
    """
    # each stuff segment is represented by the first one of its label
    first: dict[int, int] = {}
    owner = np.asarray([*(i if thing else first.setdefault(label, i)
                          for i, (label, thing) in enumerate(zip(labels, things))), VOID])
    merged = owner[index_map]
    keep = np.zeros(len(labels), bool)
    keep[np.unique(merged[merged != VOID])] = True
    return select_segments(merged, labels, keep)
