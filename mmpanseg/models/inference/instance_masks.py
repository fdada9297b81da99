"""Storage of instance masks, dense or as run lengths."""
from collections.abc import Sequence

import torch
from torch import Tensor

from mmpanseg.structures.encoded_masks import encode_mask
from mmpanseg.structures.segment_geometry import mask_boxes
from mmpanseg.utils.device import to_device, to_host


class MaskStore:
    """Masks and boxes of n instances, stored one chunk at a time.

    Args:
        count: n.
        size: (H, W) of the masks.
        mask_format: 'dense' (one bool tensor [n, H, W]), or 'rle' (n COCO run-length encodings),
            which needs no n x H x W bytes.
        device: of the dense masks and of the boxes.

    Attributes:
        masks: in that format.
        bboxes: float32 [n, 4], see :func:`mmpanseg.structures.segment_geometry.mask_boxes`.
    """

    def __init__(self, count: int, size: tuple[int, int], mask_format: str,
                 device: torch.device) -> None:
        dense = mask_format == 'dense'
        self.masks: Tensor | list[dict] = (
            torch.zeros(count, *size, dtype=torch.bool, device=device) if dense else [{}] * count)
        self.bboxes = torch.zeros(count, 4, device=device)

    def put(self, positions: Sequence[int], rows: Sequence[int], masks: Tensor) -> None:
        """Store masks, with at most one copy to the host for all of them.

        Args:
            positions: numbers of the instances to store, 0 .. n - 1.
            rows: per position the row of ``masks`` that it gets.
            masks: bool [m, H, W].
        """
        boxes = mask_boxes(masks).to(self.bboxes)
        place, row = to_device(self.bboxes.device, list(positions), list(rows))
        self.bboxes[place] = boxes[row]
        if isinstance(self.masks, Tensor):
            for position, number in zip(positions, rows):
                self.masks[position] = masks[number]
            return
        encoded = [encode_mask(mask) for mask in to_host(masks)[0]]
        for position, number in zip(positions, rows):
            self.masks[position] = encoded[number]
