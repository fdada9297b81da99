"""Where the masks of segments come from: a map, dense masks, run lengths. Computed on demand."""
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
from pycocotools import mask as rle_tools

from mmpanseg.structures.map_segments import MapSegments, encode_segments, find_segments


class Masks(Protocol):
    """Masks of the segments of one image, by key."""

    def mask(self, key: int) -> np.ndarray:
        """Compute a mask, bool [H, W]; it belongs to the caller."""
        ...

    def window(self, key: int) -> tuple[np.ndarray, int, int]:
        """Compute a part of a mask that has all of its pixels, and its first column and row."""
        ...

    def rle(self, key: int) -> dict:
        """Compute a mask as COCO's compressed run lengths, with ``counts`` as bytes."""
        ...


class MapMasks:
    """Masks of a map; the key of a segment is its value.

    Args:
        ids: int32 [H, W].
    """

    def __init__(self, ids: np.ndarray) -> None:
        self.ids = ids

    @cached_property
    def found(self) -> MapSegments:
        """Values of the map, with areas and boxes."""
        return find_segments(self.ids)

    def rows(self) -> Iterator[tuple[int, int, list[float]]]:
        """Value, area and box of each segment."""
        return zip(self.found.ids.tolist(), self.found.areas.tolist(),
                   self.found.boxes.astype(float).tolist())

    @cached_property
    def _boxes(self) -> dict[int, list[int]]:
        return dict(zip(self.found.ids.tolist(), self.found.boxes.tolist()))

    @cached_property
    def _rles(self) -> dict[int, dict]:
        return encode_segments(self.ids)

    def mask(self, key: int) -> np.ndarray:
        return self.ids == key

    def window(self, key: int) -> tuple[np.ndarray, int, int]:
        x1, y1, x2, y2 = self._boxes[key]
        return self.ids[y1:y2, x1:x2] == key, x1, y1

    def rle(self, key: int) -> dict:
        return self._rles[key]


class DenseMasks:
    """Masks that may overlap; the key of a segment is its index.

    Args:
        masks: bool [n, H, W].
    """

    def __init__(self, masks: np.ndarray) -> None:
        self.masks = masks

    def areas(self) -> list[int]:
        """Count the pixels of each mask."""
        return [int(np.count_nonzero(mask)) for mask in self.masks]

    def boxes(self) -> np.ndarray:
        """Compute the boxes (x1, y1, x2, y2), int64 [n, 4]; zeros for an empty mask."""
        boxes = np.zeros((len(self.masks), 4), np.int64)
        for box, mask in zip(boxes, self.masks):
            columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
            if len(rows):
                box[:] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        return boxes

    def mask(self, key: int) -> np.ndarray:
        return self.masks[key].copy()

    def window(self, key: int) -> tuple[np.ndarray, int, int]:
        return self.masks[key], 0, 0

    def rle(self, key: int) -> dict:
        return rle_tools.encode(np.asfortranarray(self.masks[key], np.uint8))

    def subset(self, keys: Sequence[int]) -> np.ndarray:
        """Select masks, in the form that :class:`Result` accepts."""
        return self.masks[np.asarray(keys, np.int64)]


class RunLengthMasks:
    """Masks as run lengths; the key of a segment is its index.

    Args:
        rles: compressed run lengths, n.
    """

    def __init__(self, rles: Sequence[dict]) -> None:
        self.rles = rles

    def areas(self) -> list[int]:
        """Count the pixels of each mask."""
        return [int(rle_tools.area(rle)) for rle in self.rles]

    def boxes(self) -> np.ndarray:
        """Compute the boxes (x1, y1, x2, y2), int64 [n, 4]; zeros for an empty mask."""
        found = [rle_tools.toBbox(rle) for rle in self.rles]
        boxes = np.array(found).reshape(-1, 4).astype(np.int64)
        boxes[:, 2:] += boxes[:, :2]
        boxes[np.array(self.areas(), np.int64) == 0] = 0
        return boxes

    def mask(self, key: int) -> np.ndarray:
        return np.ascontiguousarray(rle_tools.decode(self.rles[key]).view(bool))

    def window(self, key: int) -> tuple[np.ndarray, int, int]:
        return self.mask(key), 0, 0

    def rle(self, key: int) -> dict:
        return self.rles[key]

    def subset(self, keys: Sequence[int]) -> list[dict]:
        """Select masks, in the form that :class:`Result` accepts."""
        return [self.rles[key] for key in keys]
