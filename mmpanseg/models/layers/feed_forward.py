"""Feed-forward block with mmdet's parameter names. Shapes: T tokens, C channels, F hidden ones."""
import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

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
        inner, outer = self._linear_layers
        arguments = (tokens, inner.weight, inner.bias, outer.weight, outer.bias)
        if torch.is_grad_enabled():
            return _Chunked.apply(*arguments, step).view(x.shape)
        return _in_chunks(*arguments, step).view(x.shape)

    @property
    def _linear_layers(self) -> tuple[nn.Module, nn.Module]:
        return self.layers[0][0], self.layers[1]

    def _chunk(self, tokens: Tensor) -> int:
        """Tokens to take at once: all of them where only the modules themselves will do."""
        dropping = self.training and self.dropout > 0
        # a tool may have put layers of its own, quantised ones for example, in their place
        replaced = any(type(layer) is not nn.Linear for layer in self._linear_layers)
        if (tokens.device.type != 'cpu' or dropping or replaced
                or torch.is_autocast_enabled('cpu') or torch.compiler.is_compiling()
                or torch.jit.is_tracing()):
            return len(tokens)
        return max(1, _CHUNK_ELEMENTS // self._linear_layers[0].out_features)


def _in_chunks(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, step: int) -> Tensor:
    """x [T, C], w1 [F, C], b1 [F], w2 [C, F], b2 [C] -> [T, C]."""
    out = torch.empty_like(x)
    for part, target in zip(x.split(step), out.split(step)):
        torch.addmm(b2, torch.addmm(b1, part, w1.T).relu_(), w2.T, out=target)
    return out


class _Chunked(torch.autograd.Function):
    """:func:`_in_chunks`; nothing of the hidden layer is kept for the backward pass."""

    @staticmethod
    def forward(ctx, x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor,
                step: int) -> Tensor:
        ctx.save_for_backward(x, w1, b1, w2)
        ctx.step = step
        return _in_chunks(x, w1, b1, w2, b2, step)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple:
        x, w1, b1, w2 = ctx.saved_tensors
        grad_x = torch.empty_like(x)
        grads = [torch.zeros_like(parameter) for parameter in (w1, b1, w2)]
        grad_w1, grad_b1, grad_w2 = grads
        chunks = zip(x.split(ctx.step), grad.split(ctx.step), grad_x.split(ctx.step))
        for part, grad_part, target in chunks:
            hidden = torch.addmm(b1, part, w1.T).relu_()
            grad_w2.addmm_(grad_part.T, hidden)
            inner = torch.ops.aten.threshold_backward(grad_part @ w2, hidden, 0)
            grad_w1.addmm_(inner.T, part)
            grad_b1 += inner.sum(0)
            torch.mm(inner, w1, out=target)
        return grad_x, *grads, grad.sum(0), None
