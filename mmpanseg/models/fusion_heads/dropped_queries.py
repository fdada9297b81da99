"""Queries that are left out because their logits are not finite.

Q queries, K classes.
"""
import math
import warnings
from functools import partial

import torch
from torch import Tensor

from mmpanseg.models.inference.augmented_views import View
from mmpanseg.models.inference.full_size_masks import FullSizeMasks
from mmpanseg.utils.device import to_host_later


class DroppedQueries:
    """Counts of queries with NaN or infinite logits; the first image with some gets a warning.

    Attributes:
        images: number of images (tiles, augmented views) with such queries.
        queries: number of such queries.
    """

    def __init__(self) -> None:
        self.images = self.queries = 0

    def count(self, broken: Tensor, name: str) -> None:
        """Count the queries of an image, with the next copy to the host.

        Args:
            broken: bool [Q].
            name: of the image, for the warning.
        """
        to_host_later(broken.sum(), partial(self._add, len(broken), name))

    def _add(self, total: int, name: str, count: Tensor) -> None:
        number = int(count)
        if not number:
            return
        self.images += 1
        self.queries += number
        if self.images == 1:
            warnings.warn(
                f'{name}: {number} of {total} queries have NaN or infinite class or mask logits '
                'and are left out; further images with such queries are only counted',
                RuntimeWarning, stacklevel=2)


def without_broken(probs: Tensor, masks: FullSizeMasks, image: int, dropped: DroppedQueries,
                   name: str) -> View:
    """Make queries with logits that are not finite predict "no object" with an empty mask.

    Nothing else changes, and the host does not wait for the device.

    Args:
        probs: class probabilities [Q, K + 1]; those of a query with such class logits are NaN.
        masks: masks of the queries; get the attribute ``broken``.
        image: index of the image in the batch.
        dropped: counts them.
        name: of the image.
    """
    checksums = masks.mask_logits.checksums(image)
    masks.broken = ~(probs.isfinite().all(-1) & checksums.isfinite())
    dropped.count(masks.broken, name)
    nothing = torch.arange(probs.shape[-1], device=probs.device) == probs.shape[-1] - 1
    return View(torch.where(masks.broken[:, None], nothing.to(probs), probs), masks)


def mark_broken(probs: Tensor, cls_logits: Tensor, minus_infinity: bool) -> Tensor:
    """Set the probabilities of queries with class logits that are not finite to NaN.

    Args:
        probs: [..., Q, K + 1].
        cls_logits: [..., Q, n].
        minus_infinity: whether logits may be -inf, for classes that a query cannot predict.
    """
    largest = cls_logits.amax(-1) if minus_infinity else cls_logits.abs().amax(-1)
    return torch.where((largest < math.inf)[..., None], probs, math.nan)
