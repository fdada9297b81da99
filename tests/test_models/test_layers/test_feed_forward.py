"""The feed-forward network in chunks against its own layers, called one after the other."""
import copy
import gc

import pytest
import torch
from torch import nn
from torch.ao.quantization import quantize_dynamic
from torch.nn.utils import parametrize
from torch.utils._python_dispatch import TorchDispatchMode

from mmpanseg.models.layers import feed_forward
from mmpanseg.models.layers.feed_forward import FeedForward


@pytest.fixture
def block(monkeypatch):
    monkeypatch.setattr(feed_forward, '_CHUNK_ELEMENTS', 12 * 5)  # five tokens at once
    torch.manual_seed(0)
    return FeedForward(6, 12).double()


def results(function, block, x, grad):
    """Return the output, then the gradients of the input and of the parameters."""
    x = x.clone().requires_grad_()
    block.zero_grad()
    out = function(x)
    out.backward(grad)
    return [out, x.grad, *(parameter.grad.clone() for parameter in block.parameters())]


@pytest.mark.parametrize('shape', [(2, 8, 6), (5, 6), (1, 11, 6), (2, 0, 6)])
def test_equal_to_the_layers(block, shape):
    x, grad = torch.randn(2, *shape, dtype=torch.double)
    for ours, direct in zip(results(block, block, x, grad), results(block.layers, block, x, grad)):
        torch.testing.assert_close(ours, direct, rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(block(x), block.layers(x), rtol=1e-12, atol=1e-12)


class Shapes(TorchDispatchMode):
    """Record the shapes of all tensors that operators return."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.seen.update(tuple(x.shape) for x in (out if isinstance(out, (tuple, list)) else [out])
                         if isinstance(x, torch.Tensor))
        return out


@pytest.mark.parametrize('grad', [True, False])
def test_only_chunks_of_the_hidden_layer_exist(block, grad):
    x = torch.randn(40, 6, dtype=torch.double, requires_grad=grad)
    with Shapes() as mode, torch.set_grad_enabled(grad):
        out = block(x)
        if grad:
            out.sum().backward()
    assert {(5, 12), (40, 6)} <= mode.seen
    assert (40, 12) not in mode.seen


def test_the_hidden_layer_is_not_stored(block):
    """Autograd stores no chunk either: the backward pass recomputes each."""
    before = live(12)
    out = block(torch.randn(40, 6, dtype=torch.double, requires_grad=True))
    assert live(12) == before
    out.sum().backward()


def live(width: int) -> int:
    """Count the matrices of a width that are alive."""
    gc.collect()
    return sum(isinstance(x, torch.Tensor) and not isinstance(x, nn.Parameter) and x.ndim == 2
               and x.shape[1] == width for x in gc.get_objects())


def test_frozen_layers_and_frozen_input(block):
    x = torch.randn(9, 6, dtype=torch.double)
    block.layers[0][0].requires_grad_(False)
    block(x).sum().backward()
    assert block.layers[0][0].weight.grad is None
    hidden = block.layers[0][0](x).relu()
    expected = hidden.sum(0).expand(6, 12)
    torch.testing.assert_close(block.layers[1].weight.grad, expected)


def test_mixed_precision_calls_the_layers_themselves(block):
    block.float()
    x = torch.randn(16, 6)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert block(x).dtype == torch.bfloat16
        torch.testing.assert_close(block(x), block.layers(x), rtol=0, atol=0)


def test_dropout_calls_the_layers_themselves(monkeypatch):
    monkeypatch.setattr(feed_forward, '_CHUNK_ELEMENTS', 12)
    block = FeedForward(6, 12, dropout=0.999999)
    x = torch.randn(7, 6)
    assert not block(x).any()
    assert block.eval()(x).any()


def test_replaced_layers_are_called(block):
    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    x = torch.randn(16, 6, dtype=torch.double)
    before = block(x)
    doubled = Doubled(12, 6).double()
    doubled.load_state_dict(block.layers[1].state_dict())
    block.layers[1] = doubled
    torch.testing.assert_close(block(x), 2 * before)


class LowRank(nn.Module):
    """A linear layer with a parallel adapter, whose ``weight`` is that of the layer alone."""

    def __init__(self, base):
        super().__init__()
        self.base = base
        self.down = nn.Linear(base.in_features, 2, bias=False).double()
        self.up = nn.Linear(2, base.out_features, bias=False).double()

    @property
    def weight(self):
        return self.base.weight

    @property
    def bias(self):
        return self.base.bias

    @property
    def out_features(self):
        return self.base.out_features

    def forward(self, x):
        return self.base(x) + self.up(self.down(x))


class Negated(nn.Module):
    def forward(self, weight):
        return -weight


def change_inner(block):
    block.layers[0][0] = LowRank(block.layers[0][0])


def change_outer(block):
    block.layers[1] = LowRank(block.layers[1])


def hook(block):
    block.layers[0][0].register_forward_hook(lambda module, inputs, out: out + 1)


def pre_hook(block):
    block.layers[1].register_forward_pre_hook(lambda module, inputs: (2 * inputs[0], ))


def own_forward(block):
    layer = block.layers[1]
    original = layer.forward
    layer.forward = lambda x: original(x) + 1


def activation(block):
    block.layers[0][1] = nn.GELU()


def parametrized(block):
    parametrize.register_parametrization(block.layers[1], 'weight', Negated())


@pytest.mark.parametrize('change', [change_inner, change_outer, hook, pre_hook, own_forward,
                                    activation, parametrized])
def test_every_change_of_a_layer_has_its_effect(block, change):
    x, grad = torch.randn(2, 33, 6, dtype=torch.double)
    plain = block(x).detach()
    change(block)
    found, expected = (results(function, block, x, grad) for function in (block, block.layers))
    torch.testing.assert_close(found, expected)
    assert (found[0] - plain).abs().max() > 1e-3
    with torch.no_grad():
        torch.testing.assert_close(block(x), expected[0])


def test_a_hook_sees_all_tokens_once(block):
    seen = []
    block.layers[1].register_forward_hook(lambda module, inputs, out: seen.append(out))
    out = block(torch.randn(2, 20, 6, dtype=torch.double))
    torch.testing.assert_close(seen[0].view_as(out), out)
    assert len(seen) == 1


def test_quantized_layers_scale_by_all_tokens(block):
    quantized = quantize_dynamic(copy.deepcopy(block).float(), {nn.Linear}, dtype=torch.qint8)
    x = torch.randn(33, 6)
    x[:5] *= 100  # the first chunk alone would have another scale
    with torch.no_grad():
        torch.testing.assert_close(quantized(x), quantized.layers(x), rtol=0, atol=0)
