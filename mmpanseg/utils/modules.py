"""Questions about modules of any network."""
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.dist import get_world_size
from mmengine.model import BaseTTAModel, is_model_wrapper
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

_PLAIN = (nn.Linear, nn.ReLU, nn.Dropout, nn.Sequential)
_HOOKS = ('_forward_hooks', '_forward_pre_hooks', '_backward_hooks', '_backward_pre_hooks')


def is_unmodified(module: nn.Module) -> bool:
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


# how torch begins its refusals, by batch and group norm, and by instance norm
_REFUSALS = ('Expected more than 1 value per channel', 'Expected more than 1 spatial element')
BATCH_SIZE_ADVICE = ('use at least two images per process (train_dataloader.batch_size=2), or SyncBN as '
              'norm in a run of several processes on GPUs')


def single_value_norms(model: nn.Module) -> list[str]:
    """Names of batch norms that see one value per channel and image, and no other process.

    Modules tell them by an attribute ``image_norm``.
    """
    found = []
    for name, module in model.named_modules():
        norm = getattr(module, 'image_norm', None)
        alone = not isinstance(norm, nn.SyncBatchNorm) or get_world_size() == 1
        if isinstance(norm, _BatchNorm) and alone:
            found.append(name)
    return found


@contextmanager
def explain_norm_errors(inputs: Tensor) -> Iterator[None]:
    """A norm's refusal to train on single values also says of what images, and what to do.

    Args:
        inputs: images of the batch [B, C, H, W].

    Raises:
        ValueError: with that text.
    """
    try:
        yield
    except ValueError as error:
        if not str(error).startswith(_REFUSALS):
            raise
        size = 'x'.join(map(str, inputs.shape[2:]))
        raise ValueError(
            f'a norm has one value per channel to learn from, in a batch of {len(inputs)} '
            f'image(s) of {size}: {BATCH_SIZE_ADVICE}, or larger images (maps of stride 32 have a side '
            f'of 1 below 33 pixels). Torch says: {error}') from error


def unwrap_model(model: nn.Module) -> nn.Module:
    """A model without wrappers of several processes and of test-time augmentation."""
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model
