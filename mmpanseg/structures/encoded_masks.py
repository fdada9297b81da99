"""Object masks as polygons or run-length encodings (RLE). Shapes: H, W image size, N objects."""
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmdet.structures.mask.structures import BaseInstanceMasks
from pycocotools import mask as rle_tools

from mmpanseg.structures.segment_map import VOID, SegmentMap
from mmpanseg.utils.device import to_host

# polygons [x1, y1, x2, y2, ...], or COCO's compressed RLE
Mask = list[np.ndarray] | dict


def encode_segmentation(segmentation: list | dict, height: int, width: int) -> dict:
    """Convert a ``segmentation`` of a COCO JSON to compressed RLE.

    Args:
        segmentation: polygons, uncompressed RLE or compressed RLE.
        height: image height.
        width: image width.
    """
    if isinstance(segmentation, list):
        return rle_tools.merge(rle_tools.frPyObjects(segmentation, height, width))
    if isinstance(segmentation['counts'], list):
        return rle_tools.frPyObjects(segmentation, height, width)
    return segmentation


def encode_mask(mask: np.ndarray | torch.Tensor) -> dict:
    """Convert a mask to compressed RLE.

    Args:
        mask: bool or uint8 [H, W]; an array, or a tensor on any device.
    """
    array = to_host(mask)[0].numpy() if isinstance(mask, torch.Tensor) else mask
    return rle_tools.encode(np.asfortranarray(array, np.uint8))


class EncodedMasks(BaseInstanceMasks):
    """Masks of one image, some as polygons and some as RLE.

    Supports the operations of mmdet's masks, so that mmdet's transforms accept it. Polygons are
    transformed by mmdet's ``PolygonMasks``, RLE by ``BitmapMasks``, one mask at a time.

    Args:
        masks: N objects, each polygons (a list of arrays) or compressed RLE.
        height: image height.
        width: image width.
    """

    def __init__(self, masks: Sequence[Mask], height: int, width: int) -> None:
        self.masks, self.height, self.width = list(masks), height, width

    def __len__(self) -> int:
        return len(self.masks)

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(num_masks={len(self)}, height={self.height}, '
                f'width={self.width})')

    def __getitem__(self, index: int | slice | np.ndarray) -> 'EncodedMasks':
        numbers = np.atleast_1d(np.arange(len(self))[index])
        return EncodedMasks([self.masks[i] for i in numbers], self.height, self.width)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self._one(mask).to_ndarray()[0] for mask in self.masks)

    def encoded(self) -> list[dict]:
        """Convert every mask to compressed RLE."""
        return [encode_segmentation(mask, self.height, self.width) for mask in self.masks]

    def _one(self, mask: Mask) -> BitmapMasks | PolygonMasks:
        if isinstance(mask, dict):
            return BitmapMasks(rle_tools.decode(mask)[None], self.height, self.width)
        return PolygonMasks([mask], self.height, self.width)

    def _each(self, operation: str, *args: Any, **kwargs: Any) -> 'EncodedMasks':
        """Apply an operation of mmdet's masks to every mask."""
        masks = []
        # the size of the result, also if there are no masks
        result = getattr(PolygonMasks([], self.height, self.width), operation)(*args, **kwargs)
        for mask in self.masks:
            result = getattr(self._one(mask), operation)(*args, **kwargs)
            masks.append(encode_mask(result.masks[0]) if isinstance(result, BitmapMasks)
                         else result.masks[0])
        return EncodedMasks(masks, result.height, result.width)

    def rescale(self, scale, interpolation='nearest'):
        return self._each('rescale', scale, interpolation)

    def resize(self, out_shape, interpolation='nearest'):
        return self._each('resize', out_shape, interpolation)

    def flip(self, flip_direction='horizontal'):
        return self._each('flip', flip_direction)

    def pad(self, out_shape, pad_val=0):
        return self._each('pad', out_shape, pad_val)

    def crop(self, bbox):
        return self._each('crop', bbox)

    def crop_and_resize(self, bboxes, out_shape, inds, device='cpu', interpolation='bilinear',
                        binarize=True):
        return self._bitmaps().crop_and_resize(
            bboxes, out_shape, inds, device, interpolation, binarize)

    def expand(self, expanded_h, expanded_w, top, left):
        return EncodedMasks(
            [encode_mask(self._bitmaps_of(mask).expand(expanded_h, expanded_w, top, left).masks[0])
             for mask in self.masks], expanded_h, expanded_w)

    def translate(self, *args, **kwargs):
        return self._each('translate', *args, **kwargs)

    def shear(self, *args, **kwargs):
        return self._each('shear', *args, **kwargs)

    def rotate(self, *args, **kwargs):
        return self._each('rotate', *args, **kwargs)

    @property
    def areas(self) -> np.ndarray:
        return np.asarray([self._one(mask).areas[0] for mask in self.masks])

    def get_bboxes(self, dst_type='hbox'):
        return self._bitmaps().get_bboxes(dst_type)

    def to_ndarray(self) -> np.ndarray:
        return self._bitmaps().masks

    def to_tensor(self, dtype, device) -> torch.Tensor:
        return torch.tensor(self.to_ndarray(), dtype=dtype, device=device)

    @classmethod
    def cat(cls, masks: Sequence['EncodedMasks']) -> 'EncodedMasks':
        return cls([mask for part in masks for mask in part.masks], masks[0].height,
                   masks[0].width)

    def _bitmaps_of(self, mask: Mask) -> BitmapMasks:
        rle = encode_segmentation(mask, self.height, self.width)
        return BitmapMasks(rle_tools.decode(rle)[None], self.height, self.width)

    def _bitmaps(self) -> BitmapMasks:
        dense = np.zeros((len(self), self.height, self.width), np.uint8)
        for row, rle in zip(dense, self.encoded()):
            row[:] = rle_tools.decode(rle)
        return BitmapMasks(dense, self.height, self.width)


def encode_masks(masks: BaseInstanceMasks) -> list[dict]:
    """Convert mmdet's masks of any class to compressed RLE, one per mask."""
    if isinstance(masks, BitmapMasks):
        return [encode_mask(mask) for mask in masks.masks]
    return EncodedMasks(masks.masks, masks.height, masks.width).encoded()


def segments_from_rles(labels: torch.Tensor, masks: Sequence[dict],
                     shape: tuple[int, int]) -> SegmentMap:
    """Create segments from RLE: as an index map, or as packed masks if any two masks overlap.

    Args:
        labels: int64 [N], class labels.
        masks: N compressed RLE.
        shape: (H, W).
    """
    # one mask per call: pycocotools computes the areas of at most 255 masks at a time
    area = sum(int(rle_tools.area(rle)) for rle in masks)
    if not masks or area == rle_tools.area(rle_tools.merge(list(masks))):
        index = np.full(shape, VOID, np.int32, order='F')  # the order of RLE
        for number, rle in enumerate(masks):
            index[rle_tools.decode(rle).view(bool)] = number
        return SegmentMap(labels, map=torch.from_numpy(np.ascontiguousarray(index)))
    height, width = shape
    bits = np.empty((len(masks), height, -(-width // 8)), np.uint8)
    for row, rle in zip(bits, masks):
        row[:] = np.packbits(rle_tools.decode(rle), axis=1)
    return SegmentMap.from_bits(labels, torch.from_numpy(bits), width)
