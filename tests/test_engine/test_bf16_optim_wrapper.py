"""Mixed precision on a CPU."""
import torch
from torch import nn

from mmpanseg.registry import OPTIM_WRAPPERS


def test_forward_in_bfloat16_updates_in_single_precision():
    model = nn.Linear(4, 2)
    before = model.weight.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    wrapper = OPTIM_WRAPPERS.build(
        dict(type='mmpanseg.BFloat16OptimWrapper', optimizer=optimizer))
    # 1 + 2 ** -10 is 1 in bfloat16
    x = torch.full((1, 4), 1 + 2 ** -10)
    with wrapper.optim_context(model):
        out = model(x)
    assert out.dtype == torch.bfloat16
    wrapper.update_params(out.float().sum())
    assert model.weight.dtype == torch.float32
    torch.testing.assert_close(model.weight, before - 0.5)
    assert model(x).dtype == torch.float32
