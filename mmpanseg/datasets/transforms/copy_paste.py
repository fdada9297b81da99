"""Panoptic copy-paste on index maps. H, W size of the canvas; N segments."""
from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform, Compose

from mmpanseg.datasets.transforms.large_scale_jitter import select_segments
from mmpanseg.registry import TRANSFORMS
from mmpanseg.structures import VOID


@TRANSFORMS.register_module()
class PanopticCopyPaste(BaseTransform):
    """Paste the things, and a random part of the rest, of a second image onto the first.

    kMaX-DeepLab's augmentation. All non-crowd segments of the second image are shuffled and the
    first n stay, n uniform in 0 .. N; its things stay in any case. Pixels and labels are pasted.
    Stuff of one class becomes one segment, and segments that are covered are removed.

    Goes into the pipeline of :class:`mmpanseg.datasets.ResamplingMixDataset`, which adds the second
    sample. Both images lie at the top left of a canvas; ``real_pixels``, bool [H, W], says where
    it shows an image, the rest of ``img`` is 0. :class:`PackPanopticInputs` passes it on.

    Args:
        size: (H, W) of the canvas.
        transforms: what the second image goes through first.

    Raises:
        KeyError: without a second sample. ValueError: for an image larger than the canvas or
            without a map of segments.
    """

    def __init__(self, size: tuple[int, int], transforms: Sequence[dict] = ()) -> None:
        self.size = tuple(size)
        self.transforms = Compose(list(transforms))

    def get_indexes(self, dataset: Sequence) -> int:
        """Index of the sample to paste from."""
        return np.random.randint(len(dataset))

    def _draw(self, num_segments: int) -> np.ndarray:
        """Segments that stay even if they are stuff."""
        keep = np.random.randint(num_segments + 1)
        return np.random.permutation(num_segments)[:keep]

    def transform(self, results: dict) -> dict | None:
        """None where the second image's transforms leave nothing of it."""
        if not results.get('mix_results'):
            raise KeyError('PanopticCopyPaste needs a second sample under "mix_results": wrap the '
                           'dataset as dict(type="mmpanseg.ResamplingMixDataset", dataset=..., '
                           'pipeline=[..., PanopticCopyPaste, ...])')
        second = self.transforms(results.pop('mix_results')[0])
        if second is None:
            return None
        image, index_map, real = self._canvas(results)
        other_image, other_map, other_real = self._canvas(second)
        labels, other_labels = results['gt_segment_labels'], second['gt_segment_labels']
        things, other_things = _things(results), _things(second)

        pasted = other_things.copy()
        pasted[self._draw(len(other_labels))] = True
        # one entry more: index -1 is void
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
        """Image, map and mask of real pixels at the canvas' size."""
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
        image = np.zeros((*self.size, 3), results['img'].dtype)
        index_map = np.full(self.size, VOID, np.int32)
        real = np.zeros(self.size, bool)
        image[inside], index_map[inside], real[inside] = (
            results['img'], results['gt_seg_map'], True)
        return image, index_map, real

    def __repr__(self) -> str:
        return f'{type(self).__name__}(size={self.size}, transforms={self.transforms})'


def _things(results: dict) -> np.ndarray:
    """Which of a sample's segments are things, bool [N]."""
    things = {s['category'] for s in results['segments_info'] if s['is_thing']}
    return np.asarray([label in things for label in results['gt_segment_labels']], bool)


def merge_stuff(index_map: np.ndarray, labels: np.ndarray,
                things: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One segment per stuff class, no segment without a pixel.

    Args:
        index_map: int32 [H, W], -1 = void.
        labels: int64 [N].
        things: bool [N].

    Returns:
        map and labels; segments keep their order, merged ones the place of the first.
    """
    # each stuff segment is represented by the first of its label
    first = {}
    owner = np.asarray([*(i if thing else first.setdefault(label, i)
                          for i, (label, thing) in enumerate(zip(labels, things))), VOID])
    merged = owner[index_map]
    keep = np.zeros(len(labels), bool)
    keep[np.unique(merged[merged != VOID])] = True
    return select_segments(merged, labels, keep)
