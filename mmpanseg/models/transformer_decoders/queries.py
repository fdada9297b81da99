"""What queries start from: content (Mask2Former, Tables 4b and Xb) and position code.

Each kind of content is a module with ``weight`` [Q, C] and ``first_supervised``, the index of the
first prediction with a loss: 0 is the prediction made from the start content itself, 1 that of the
first decoder layer.
"""
import torch
from torch import nn


class UnsupervisedQueries(nn.Embedding):
    """Learnt through the decoder layers only."""
    first_supervised = 1


class SupervisedQueries(nn.Embedding):
    """Learnt, and their own masks and classes have losses too: they act as proposals."""
    first_supervised = 0


class ZeroQueries(nn.Module):
    """Zeros, as in DETR; queries differ by their position code only.

    Args:
        num_queries: Q.
        channels: C.
    """
    first_supervised = 1

    def __init__(self, num_queries: int, channels: int) -> None:
        super().__init__()
        self.register_buffer('weight', torch.zeros(num_queries, channels), persistent=False)


QUERY_FEATURES: dict[str, type[nn.Module]] = {
    'supervised': SupervisedQueries,
    'unsupervised': UnsupervisedQueries,
    'zero': ZeroQueries,
}
QUERY_POSITIONS: dict[str, type[nn.Module]] = {
    'learnt': nn.Embedding,
    'none': ZeroQueries,
}
