"""From what heads give to probabilities of classes and masks. Q queries, K classes."""
from typing import Callable, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


def softmax_scores(cls_logits: Tensor) -> Tensor:
    """Probabilities [..., Q, K + 1] of logits [..., Q, K + 1], "no object" last."""
    return cls_logits.softmax(-1)


def sigmoid_scores(cls_logits: Tensor) -> Tensor:
    """Scores [..., Q, K + 1] of logits [..., Q, K], each class by itself; "no object" has 0."""
    return F.pad(cls_logits.sigmoid(), (0, 1))


class MaskActivation(NamedTuple):
    """How mask logits are read.

    ``probs`` makes masks in 0 .. 1 of them; ``half`` is the logit at which a mask is 0.5.
    """
    probs: Callable[[Tensor], Tensor]
    half: float


SIGMOID = MaskActivation(torch.sigmoid, 0.0)
# masks that a head gives as they are, such as those read off attention maps
NONE = MaskActivation(torch.clone, 0.5)

SCORE_ACTIVATIONS = dict(softmax=softmax_scores, sigmoid=sigmoid_scores)
MASK_ACTIVATIONS = dict(sigmoid=SIGMOID, none=NONE)
