"""Feed-forward block with mmdet's parameter names. Shapes: T tokens, C channels, F hidden ones."""
import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmpanseg.utils.modules import is_unmodified

# Elements of the hidden layer that a CPU works on at once: they stay in the caches of the cores.
_CHUNK_ELEMENTS = 1 << 19


class FeedForward(BaseModule):
    """Linear, ReLU, Linear: [..., C] -> [..., C], without the residual.

    The hidden layer of many tokens is the largest tensor of a transformer. On a CPU it exists for a
    few tokens at a time, and the backward pass makes it anew.

    Args:
        channels: C.
        hidden_channels: F, width between the two.
        dropout: after each of them.
    """

    def __init__(self, channels: int, hidden_channels: int, dropout: float = 0.0) -> None:
        super().__init__()
        # nested as in mmcv's FFN, whose checkpoints load here
        self.layers = nn.Sequential(
            nn.Sequential(nn.Linear(channels, hidden_channels), nn.ReLU(inplace=True),
                          nn.Dropout(dropout)),
            nn.Linear(hidden_channels, channels),
            nn.Dropout(dropout))
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        # as a matrix: in higher dimensions a linear layer gives a view, and the backward pass of an
        # activation in place copies the base of a view twice
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
        """Tokens to take at once: all of them where somebody looks at the layers or draws."""
        if (tokens.device.type != 'cpu' or (self.training and self.dropout > 0)
                or torch.is_autocast_enabled('cpu') or torch.compiler.is_compiling()
                or torch.jit.is_tracing() or not is_unmodified(self.layers)):
            return len(tokens)
        return max(1, _CHUNK_ELEMENTS // self.layers[0][0].out_features)
