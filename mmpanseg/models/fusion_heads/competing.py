"""Masks that compete for every pixel: their probabilities are a softmax over the queries.

Shapes: Q queries; h, w mask logits; H, W result.
"""
import copy
import math
from typing import Optional

import torch
from torch import Tensor

from mmpanseg.models.fusion_heads.activations import MaskActivation
from mmpanseg.models.fusion_heads.full_size import FullSizeMasks
from mmpanseg.structures.chunks import chunk_rows


def competing_activation(threshold: float) -> MaskActivation:
    """Reads log-probabilities; a query has a pixel where its probability is above a threshold."""
    return MaskActivation(torch.exp, math.log(threshold))


class CompetingMasks(FullSizeMasks):
    """Log-probabilities of one image's masks, in place of logits; see :class:`FullSizeMasks`.

    The softmax is taken at the size of the result, as published: over logits that have been
    resized. All queries are needed for it, but never at a time: their total is summed up once.
    """

    _log_total: Optional[Tensor] = None

    def at_size(self, size: tuple[int, int]) -> 'CompetingMasks':
        other = copy.copy(self)
        other.size, other._log_total = size, None
        return other

    def full(self, queries: Tensor) -> Tensor:
        if self._log_total is None:
            self._log_total = self.log_total(queries.device)
        return super().full(queries) - self._log_total

    def log_total(self, device: torch.device) -> Tensor:
        """Logarithm of the sum of all queries' exponentials, [H, W]."""
        total = torch.full(self.size, -math.inf, device=device)
        largest = max(self.size[0] * self.size[1], self.padded[0] * self.padded[1])
        queries = torch.arange(self.mask_logits.num_queries, device=device)
        for part in queries.split(chunk_rows(device, largest)):
            total = torch.logaddexp(total, super().full(part).logsumexp(0))
        return total

    def peaks(self, queries: Tensor) -> Tensor:
        # a softmax of resized logits may be above those of its neighbours
        return torch.ones(len(queries), device=queries.device)

    def all_probs(self, logits: Tensor) -> Tensor:
        return logits.softmax(0)
