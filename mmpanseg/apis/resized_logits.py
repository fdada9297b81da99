"""Kept logits whose masks are resized once, for many fusions of one image."""
from dataclasses import dataclass, field, fields

import torch

from mmpanseg.apis.kept_logits import Logits
from mmpanseg.models.fusion_heads import FusionHead
from mmpanseg.models.inference.kept_planes import KeptPlanes
from mmpanseg.models.inference.test_cfg import OutputOptions


@dataclass(frozen=True)
class ResizedLogits(Logits):
    """Logits that also keep their masks at the size of the image, see :class:`KeptPlanes`.

    Results are those of the logits. Logits of tiles and of several views keep nothing.

    Attributes:
        limit: bytes that the masks may occupy.
    """
    limit: int = 1 << 28
    _kept: dict[tuple, KeptPlanes] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, logits: Logits, limit: int = 1 << 28) -> 'ResizedLogits':
        """Make them from logits.

        Args:
            logits: of ``Predictor.logits``.
            limit: bytes that the masks may occupy.
        """
        values = {each.name: getattr(logits, each.name) for each in fields(Logits)}
        return cls(**values, limit=limit)

    @property
    def kept_bytes(self) -> int:
        """Bytes of the kept masks."""
        return sum(planes.nbytes for planes in self._kept.values())

    def fuse(self, head: FusionHead, outputs: OutputOptions) -> dict:
        if self.tiling is not None or len(self.parts) != 1:
            return super().fuse(head, outputs)
        part, = self.parts
        view, = head.views(part.cls_logits, part.mask_logits, [part.metainfo], unflip=True)
        view.masks.kept = self._planes(view.masks.resizing)
        return head.fuse([view], outputs)

    @torch.no_grad()
    def resize(self, head: FusionHead) -> None:
        """Resize the masks of all queries, as far as they can be kept, those of objects first.

        Args:
            head: a fusion head; those that resize in the same way use the same masks.
        """
        if self.tiling is not None or len(self.parts) != 1:
            return
        part, = self.parts
        view, = head.views(part.cls_logits, part.mask_logits, [part.metainfo], unflip=True)
        planes = self._planes(view.masks.resizing)
        order = view.probs[:, :-1].amax(1).argsort(descending=True)
        room = (self.limit - self.kept_bytes) // (4 * view.masks.size[0] * view.masks.size[1])
        for _ in planes.chunks(order[:max(0, room)], view.masks.full_size):
            pass

    def _planes(self, resizing: tuple) -> KeptPlanes:
        """Kept masks of one way of resizing; a second way replaces them."""
        if resizing not in self._kept:
            self._kept.clear()
            self._kept[resizing] = KeptPlanes(self.limit)
        return self._kept[resizing]
