"""What a layer of kMaX-DeepLab predicts. B images, Q queries, K classes, E channels, h x w map."""
from typing import NamedTuple

from torch import Tensor

from mmpanseg.structures.mask_logits import at_least_float


class KMaXPrediction(NamedTuple):
    """Class logits [B, Q, K + 1], mask logits [B, Q, h, w], unit pixel vectors [B, E, h, w]."""
    cls_logits: Tensor
    mask_logits: Tensor
    pixel_embeds: Tensor

    def float(self) -> 'KMaXPrediction':
        """In single precision at least."""
        return KMaXPrediction(*map(at_least_float, self))
