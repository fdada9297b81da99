"""Whether a layer is as its class made it."""
from torch import nn

_PLAIN = (nn.Linear, nn.ReLU, nn.Dropout, nn.Sequential)
_HOOKS = ('_forward_hooks', '_forward_pre_hooks', '_backward_hooks', '_backward_pre_hooks')


def is_untouched(module: nn.Module) -> bool:
    """Whether linear layers, and what is between them, are PyTorch's own and nobody listens.

    What is equal for these need not be for a layer with a hook, a low-rank adapter, quantized or
    computed weights: such a layer is called as often, and with the inputs, that one expects.
    """
    return all(
        type(part) in _PLAIN and 'forward' not in vars(part)
        and not any(getattr(part, hooks) for hooks in _HOOKS)
        # a tensor with arithmetic of its own, for example a quantized one
        and all(type(parameter) is nn.Parameter for parameter in part._parameters.values()
                if parameter is not None)
        for part in module.modules())
