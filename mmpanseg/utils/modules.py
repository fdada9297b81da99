"""Checks of PyTorch modules, independent of the network."""
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.dist import get_world_size
from mmengine.model import BaseTTAModel, is_model_wrapper
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

_PLAIN = (nn.Linear, nn.ReLU, nn.Dropout, nn.Sequential)
_HOOKS = ('_forward_hooks', '_forward_pre_hooks', '_backward_hooks', '_backward_pre_hooks')


def is_unmodified(module: nn.Module) -> bool:
    """Check that a module consists of plain PyTorch layers without hooks.

    A shortcut that reads weights instead of calling the layers is valid for such modules only. It
    would be wrong for a layer with a hook, a low-rank adapter, or quantized or computed weights.

    Args:
        module: linear layers and the activations between them.
    """
    return all(
        type(part) in _PLAIN and 'forward' not in vars(part)
        and not any(getattr(part, hooks) for hooks in _HOOKS)
        # excludes tensor subclasses with their own arithmetic, for example quantized ones
        and all(type(parameter) is nn.Parameter for parameter in part._parameters.values()
                if parameter is not None)
        for part in module.modules())


# First words of torch's errors: of batch norm and group norm, and of instance norm.
_TOO_FEW_VALUES = (
    'Expected more than 1 value per channel', 'Expected more than 1 spatial element')
BATCH_SIZE_ADVICE = (
    'use at least two images per process (train_dataloader.batch_size=2), or SyncBN as norm in a '
    'run of several processes on GPUs')


def single_value_norms(model: nn.Module) -> list[str]:
    """Find batch norms that normalize one value per channel and image within one process.

    Args:
        model: its modules name such a norm by an attribute ``image_norm``.

    Returns:
        names of the modules with that attribute, without those whose norm is synchronized over
        several processes.
    """
    found = []
    for name, module in model.named_modules():
        norm = getattr(module, 'image_norm', None)
        local = not isinstance(norm, nn.SyncBatchNorm) or get_world_size() == 1
        if isinstance(norm, _BatchNorm) and local:
            found.append(name)
    return found


@contextmanager
def explain_norm_errors(inputs: Tensor) -> Iterator[None]:
    """Extend torch's error about single values in a norm by the batch and the fix.

    Args:
        inputs: images of the batch [B, C, H, W].

    Raises:
        ValueError: a norm in training mode received one value per channel.
    """
    try:
        yield
    except ValueError as error:
        if not str(error).startswith(_TOO_FEW_VALUES):
            raise
        size = 'x'.join(map(str, inputs.shape[2:]))
        raise ValueError(
            f'a norm receives one value per channel, in a batch of {len(inputs)} '
            f'image(s) of {size}: {BATCH_SIZE_ADVICE}, or larger images (feature '
            f'maps of stride 32 are 1 pixel wide for images below 33 pixels). Error of torch: '
            f'{error}') from error


def unwrap_model(model: nn.Module) -> nn.Module:
    """Remove wrappers for distributed training and test-time augmentation from a model."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        module = model.module
        assert isinstance(module, nn.Module)
        model = module
    return model
