"""Predictions of a network for an image before fusion, which can be kept and fused again.

Q queries; K classes; h, w mask logits; H, W image.
"""
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mmpanseg.models.fusion_heads import FusionHead
from mmpanseg.models.inference.test_cfg import OutputOptions, TilingOptions
from mmpanseg.models.inference.tiled_prediction import predict_tiles
from mmpanseg.structures.mask_logits import DenseMaskLogits, MaskLogits, ProductMaskLogits


class QueryLogits(NamedTuple):
    """Predictions for one view or one tile of an image, as a batch of one.

    Attributes:
        cls_logits: [1, Q, K + 1], or [1, Q, K] for independent scores.
        mask_logits: masks of the same queries, one prediction.
        metainfo: meta information of the view or tile.
    """
    cls_logits: Tensor
    mask_logits: MaskLogits
    metainfo: dict

    def to(self, device: torch.device | str) -> 'QueryLogits':
        """Copy to a device."""
        return QueryLogits(self.cls_logits.to(device, copy=True),
                           self.mask_logits.of_image(0, device), self.metainfo)


@dataclass(frozen=True)
class Logits:
    """Predictions for one image before fusion, with all that a result needs.

    Made by ``Predictor.logits``; ``Predictor.fuse`` computes results of it, with any threshold and
    fusion head.

    Attributes:
        parts: predictions for the image, for each view of test-time augmentation, or for each tile.
        metainfo: meta information of the image.
        tiling: options of the tiles; None for an image that is predicted as a whole.
        path: path or URL of the image; None for one in memory.
        name: path, URL or description of the image.
        file_name: name of the image in exports: its path or URL, or VIDEO#INDEX for a frame; None
            for other images in memory.
        image: uint8 RGB [H, W, 3] of an image in memory; None for a file.
        speed: ms by phase, 'load', 'preprocess' and 'forward'.
    """
    parts: tuple[QueryLogits, ...]
    metainfo: dict
    tiling: TilingOptions | None = None
    path: str | None = None
    name: str = ''
    file_name: str | None = None
    image: np.ndarray | None = None
    speed: dict[str, float] = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the image in pixels."""
        height, width = self.metainfo['ori_shape'][:2]
        return int(height), int(width)

    @property
    def class_logits(self) -> Tensor:
        """Class logits [Q, K + 1] ([Q, K] for independent scores) of the first view or tile."""
        return self.parts[0].cls_logits[0]

    @property
    def mask_logits(self) -> Tensor:
        """Mask logits [Q, h, w] of the first view or tile, at the resolution of the network."""
        masks = self.parts[0].mask_logits
        return masks.dense(-1, 0, torch.arange(masks.num_queries, device=self.class_logits.device))

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors."""
        return sum(tensor.nbytes for part in self.parts for tensor in (
            part.cls_logits, *_tensors(part.mask_logits)))

    def cpu(self) -> 'Logits':
        """Copy to the host."""
        return self.to('cpu')

    def to(self, device: torch.device | str) -> 'Logits':
        """Copy to a device.

        Args:
            device: such as 'cpu' or 'cuda:0'.
        """
        return replace(self, parts=tuple(part.to(device) for part in self.parts))

    def fuse(self, head: FusionHead, outputs: OutputOptions) -> dict:
        """Compute the results of a fusion head.

        Args:
            head: the fusion head.
            outputs: options of the outputs.

        Returns:
            results by name, ``pred_*``, at the size of the image.
        """
        if self.tiling is not None:
            parts = iter(self.parts)
            return fuse_tiles(lambda image, metainfo: next(parts), self._empty_image(),
                              self.metainfo, self.tiling, head, outputs)
        views = [head.views(part.cls_logits, part.mask_logits, [part.metainfo], unflip=True)[0]
                 for part in self.parts]
        return head.fuse(views, outputs)

    def _empty_image(self) -> Tensor:
        """Image [1, h, w] without pixels of its own, of the size and on the device of the parts."""
        return self.class_logits.new_zeros(1, 1, 1).expand(1, *self.metainfo['img_shape'][:2])


def fuse_tiles(query: Callable[[Tensor, dict], QueryLogits], image: Tensor, metainfo: dict,
               tiling: TilingOptions, head: FusionHead, outputs: OutputOptions) -> dict:
    """Compute the results of an image from the predictions for its tiles, one at a time.

    Args:
        query: function of a tile [1, C, h, w] and its meta information that returns predictions.
        image: normalized image [C, H, W].
        metainfo: meta information of the image.
        tiling: options of the tiles.
        head: the fusion head.
        outputs: options of the outputs.

    Returns:
        results by name, ``pred_*``, at the size of the image.
    """
    def predict(tile: Tensor, shapes: dict, rescale: bool) -> dict:
        found = query(tile, shapes)
        return head.predict(found.cls_logits, found.mask_logits, [found.metainfo], rescale,
                            outputs)[0]

    return predict_tiles(predict, image, metainfo, tiling, outputs, head.num_things_classes,
                         head.num_classes)


def _tensors(masks: MaskLogits) -> Iterator[Tensor]:
    if isinstance(masks, ProductMaskLogits):
        yield from (masks.embeds, masks.features)
    elif isinstance(masks, DenseMaskLogits):
        yield from masks.logits
