"""Feed-forward network with mmdet's parameter names.

Shapes: T tokens, C channels, F hidden channels.
"""
import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmpanseg.utils.modules import is_unmodified

# elements of the hidden layer that a CPU computes at once: they fit the caches of its cores
_CHUNK_ELEMENTS = 1 << 19


class FeedForward(BaseModule):
    """Linear, ReLU, Linear: [..., C] -> [..., C], without the residual connection.

    The hidden layer of many tokens is the largest tensor of a transformer. On a CPU it is computed
    for a few tokens at a time and recomputed in the backward pass.

    Args:
        channels: width C of input and output.
        hidden_channels: width F of the hidden layer.
        dropout: probability of dropout after both linear layers.
    """

    def __init__(self, channels: int, hidden_channels: int, dropout: float = 0.0) -> None:
        super().__init__()
        # nested as in mmcv's FFN, whose checkpoints load here
        self.layers = nn.Sequential(
            nn.Sequential(nn.Linear(channels, hidden_channels), nn.ReLU(inplace=True),
                          nn.Dropout(dropout)),
            nn.Linear(hidden_channels, channels),
            nn.Dropout(dropout))
        self.hidden_channels = hidden_channels
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        # As a matrix: in higher dimensions a linear layer returns a view, and the backward pass of
        # an in-place activation copies the base of a view twice.
        tokens = x.flatten(0, -2)
        step = self._chunk(tokens)
        if len(tokens) <= step:
            return self.layers(tokens).view(x.shape)
        if torch.is_grad_enabled():
            parts = [checkpoint(self.layers, part, use_reentrant=False, preserve_rng_state=False)
                     for part in tokens.split(step)]
            return torch.cat(parts).view(x.shape)
        out = torch.empty_like(tokens)
        for part, target in zip(tokens.split(step), out.split(step)):
            target.copy_(self.layers(part))
        return out.view(x.shape)

    def _chunk(self, tokens: Tensor) -> int:
        """Return how many of the tokens [T, C] to compute at once.

        All of them on other devices, and where chunks could be noticed: by dropout, autocast, a
        tracer, or layers that are hooked or replaced.
        """
        if (tokens.device.type != 'cpu' or (self.training and self.dropout > 0)
                or torch.is_autocast_enabled('cpu') or torch.compiler.is_compiling()
                or torch.jit.is_tracing() or not is_unmodified(self.layers)):
            return len(tokens)
        return max(1, _CHUNK_ELEMENTS // self.hidden_channels)
