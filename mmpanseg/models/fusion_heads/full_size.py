"""Mask logits at output size, a few queries at a time."""
from typing import Iterator

import torch.nn.functional as F
from torch import Tensor

from mmpanseg.structures.chunks import chunk_rows
from mmpanseg.structures.mask_logits import MaskLogits


class FullSizeMasks:
    """Mask logits of chosen queries of one image, resized to the result's size on demand.

    Resized exactly as all queries at once would be (to the padded input, cut to the image, to the
    original size), but only a chunk of queries has pixels at any time.

    Args:
        mask_logits: of the batch; the last prediction is read.
        image: index in the batch.
        metainfo: of the image: ``batch_input_shape``, ``img_shape``, ``ori_shape``.
        rescale: to ``ori_shape``, else to ``img_shape``.
    """

    def __init__(self, mask_logits: MaskLogits, image: int, metainfo: dict,
                 rescale: bool = True) -> None:
        self.mask_logits = mask_logits
        self.image = image
        self.padded = tuple(metainfo['batch_input_shape'])
        self.cut = tuple(metainfo['img_shape'][:2])
        self.size = tuple(metainfo['ori_shape'][:2]) if rescale else self.cut

    def chunks(self, queries: Tensor) -> Iterator[Tensor]:
        """Logits [m, H, W] of the queries in order, m of them at a time."""
        largest = max(self.size[0] * self.size[1], self.padded[0] * self.padded[1])
        for part in queries.split(chunk_rows(queries.device, largest)):
            yield self.resize(self.mask_logits.dense(-1, self.image, part))

    def resize(self, logits: Tensor) -> Tensor:
        """[m, h, w] -> [m, H, W]."""
        logits = _resize(logits, self.padded)[:, :self.cut[0], :self.cut[1]]
        return _resize(logits, self.size)


def _resize(logits: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(logits.shape[-2:]) == size or not len(logits):
        return logits.new_empty(0, *size) if not len(logits) else logits
    return F.interpolate(logits[None], size, mode='bilinear', align_corners=False)[0]
