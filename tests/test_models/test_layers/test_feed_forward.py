"""The feed-forward block in chunks against its own layers, one after the other."""
import pytest
import torch
from torch import nn

from mmpanseg.models.layers import feed_forward
from mmpanseg.models.layers.feed_forward import FeedForward


@pytest.fixture
def block(monkeypatch):
    monkeypatch.setattr(feed_forward, '_CHUNK_ELEMENTS', 12 * 5)  # five tokens at once
    torch.manual_seed(0)
    return FeedForward(6, 12).double()


def results(function, block, x, grad):
    """Output, then the gradients of the input and of the parameters."""
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


def test_only_chunks_of_the_hidden_layer_exist(block):
    """What autograd keeps does not hold the hidden layer of all tokens."""
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: kept.append(tensor.shape) or tensor, lambda tensor: tensor):
        block(torch.randn(40, 6, dtype=torch.double, requires_grad=True))
    assert (40, 6) in kept
    assert (40, 12) not in kept


def test_frozen_layers_and_frozen_input(block):
    x = torch.randn(9, 6, dtype=torch.double)
    block.layers[0][0].requires_grad_(False)
    block(x).sum().backward()
    assert block.layers[0][0].weight.grad is None
    hidden = block.layers[0][0](x).relu()
    expected = hidden.sum(0).expand(6, 12)
    torch.testing.assert_close(block.layers[1].weight.grad, expected)


def test_mixed_precision_takes_the_layers_themselves(block):
    block.float()
    x = torch.randn(16, 6)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert block(x).dtype == torch.bfloat16
        torch.testing.assert_close(block(x), block.layers(x), rtol=0, atol=0)


def test_dropout_takes_the_layers_themselves(monkeypatch):
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
