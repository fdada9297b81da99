"""Masks that are a function of attention maps, not computed until somebody needs them.

Shapes: B images, N queries, h heads, d channels of a head, S tokens, H, W size of the masks; M
picked queries.
"""
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from mmpanseg.utils.device import chunk_rows


class AttentionMasks(NamedTuple):
    """Masks of one attention layer.

    Attributes:
        query: [B, h, N, d], already scaled.
        key: [B, h, S, d].
        generator: makes masks [M, H, W] of attention logits [M, h, S] and ``sizes``.
        sizes: (h, w) of the levels that the tokens are from; the first is that of the masks.
    """
    query: Tensor
    key: Tensor
    generator: Callable[[Tensor, tuple], Tensor]
    sizes: tuple[tuple[int, int], ...]

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the masks."""
        return self.sizes[0]

    def attention(self, image: int, index: Tensor | None = None) -> Tensor:
        """Attention logits [M, h, S] of some queries of an image, by default all."""
        query = self.query[image] if index is None else self.query[image][:, index]
        return torch.matmul(query, self.key[image].transpose(1, 2)).transpose(0, 1)

    def masks(self, image: int, index: Tensor | None = None) -> Tensor:
        """Masks [M, H, W] of some queries of an image; by default all, a chunk at a time."""
        if index is not None:
            return self.generator(self.attention(image, index), self.sizes)
        heads, count = self.query.shape[1:3]
        # attention, and what the generator makes of it
        step = chunk_rows(self.query.device, 2 * heads * self.key.shape[2])
        queries = torch.arange(count, device=self.query.device)
        return torch.cat([self.masks(image, part) for part in queries.split(step)])
