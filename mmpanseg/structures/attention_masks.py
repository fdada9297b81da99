"""Masks computed from attention maps on demand.

Shapes: B images, N queries, h heads, d channels of a head, S tokens, H, W size of the masks, M
selected queries.
"""
from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from mmpanseg.utils.device import chunk_rows


class QueryMasks(Protocol):
    """Masks of one layer, computed on request; :class:`AttentionMasks` is one kind."""

    @property
    def query(self) -> Tensor:
        """Scaled queries of the attention [B, h, N, d]."""

    @property
    def key(self) -> Tensor:
        """Keys of the attention [B, h, S, d]."""

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """(h, w) of the levels that the keys are from."""

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the masks."""

    def attention(self, image: int, index: Tensor | None = None) -> Tensor:
        """Compute attention logits [M, h, S] of queries ``index`` of an image; None: all."""

    def masks(self, image: int, index: Tensor | None = None) -> Tensor:
        """Compute masks [M, H, W] of queries ``index`` of an image; None: all."""


class AttentionMasks(NamedTuple):
    """Queries and keys of one attention layer, from which masks are computed.

    Attributes:
        query: [B, h, N, d], scaled.
        key: [B, h, S, d].
        generator: function from attention logits [M, h, S] and ``sizes`` to masks [M, H, W].
        sizes: (height, width) of each feature level of the tokens; the masks have the size of the
            first level.
    """
    query: Tensor
    key: Tensor
    generator: Callable[[Tensor, tuple], Tensor]
    sizes: tuple[tuple[int, int], ...]

    @property
    def size(self) -> tuple[int, int]:
        """Size (H, W) of the masks."""
        return self.sizes[0]

    def attention(self, image: int, index: Tensor | None = None) -> Tensor:
        """Compute attention logits of one image.

        Args:
            image: index in the batch.
            index: int64 [M], queries; all by default.

        Returns:
            [M, h, S].
        """
        query = self.query[image] if index is None else self.query[image][:, index]
        return torch.matmul(query, self.key[image].transpose(1, 2)).transpose(0, 1)

    def masks(self, image: int, index: Tensor | None = None) -> Tensor:
        """Compute the masks of one image.

        Args:
            image: index in the batch.
            index: int64 [M], queries; all by default, processed in chunks.

        Returns:
            [M, H, W].
        """
        if index is not None:
            return self.generator(self.attention(image, index), self.sizes)
        heads, count = self.query.shape[1:3]
        # a row is the attention logits and the generator's intermediate tensor of equal size
        step = chunk_rows(self.query.device, 2 * heads * self.key.shape[2])
        queries = torch.arange(count, device=self.query.device)
        return torch.cat([self.masks(image, part) for part in queries.split(step)])
