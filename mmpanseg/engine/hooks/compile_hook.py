"""torch.compile for the parts of a model that are worth it, in training and in tests."""
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from mmpanseg.models.segmentors import MaskTransformer
from mmpanseg.registry import HOOKS


@HOOKS.register_module()
class CompileHook(Hook):
    """Compiles the backbone and the decoders of a model's panoptic head, each as a whole.

    Losses stay as they are: their matching runs on the CPU. Names of parameters do not change. The
    tools add this hook for ``compile=True`` or ``compile=dict(...)`` in a config; mmengine's own
    way would compile ``train_step`` with everything in it, and nothing in a test.

    Args:
        options: of :meth:`torch.nn.Module.compile`, e.g. ``backend='eager'`` or ``dynamic=False``.
    """

    def __init__(self, **options: Any) -> None:
        self.options = options

    def before_run(self, runner: Runner) -> None:
        model = runner.model
        while hasattr(model, 'module'):  # of several processes, of test-time augmentation
            model = model.module
        names = compilable_parts(model)
        for name in names:
            model.get_submodule(name).compile(**self.options)
        runner.logger.info(f'Compiled at the first step, for each new image size anew: '
                           f'{", ".join(names)}')


def compilable_parts(model: nn.Module) -> list[str]:
    """Names of a model's parts without operations that a compiler cannot follow.

    Raises:
        ValueError: the model is not a :class:`MaskTransformer`.
    """
    if not isinstance(model, MaskTransformer):
        raise ValueError("compile=True needs model.type='mmpanseg.MaskTransformer', but the model "
                         f'is a {type(model).__name__}: remove the key')
    return ['backbone'] + [f'panoptic_head.{name}'
                           for name, part in model.panoptic_head.named_children()
                           if name != 'criterion' and _has_own_forward(part)]


def _has_own_forward(module: nn.Module) -> bool:
    """More than a layer, a chain or a list of layers."""
    return (any(True for _ in module.children()) and not isinstance(module, nn.Sequential)
            and type(module).forward is not nn.Module.forward)
