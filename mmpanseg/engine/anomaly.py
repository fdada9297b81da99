"""Names of the modules where numbers stop to be finite, in the forward and in the backward pass."""
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mmpanseg.utils.finite import named_tensors
from mmpanseg.utils.modules import unwrap_model

# part of torch's error text
_NAN = 'returned nan values'
_MODULE = 'mmpanseg_module'


class AnomalyError(Exception):
    """The backward pass of an operation made NaN; the text names operation and module."""


class AnomalyDetection:
    """Autograd's anomaly detection that also names modules; for debugging, as it is slow.

    In the forward pass, the outputs of all modules are checked, from the innermost ones outwards.
    Operations of the graph know the innermost module that they were computed in.

    Args:
        model: the model, also a wrapped one.

    Attributes:
        first: first module whose output was not finite since the last :meth:`clear`, '' for none.
    """

    def __init__(self, model: nn.Module) -> None:
        self.first = ''
        self._operation = ''
        self._stack: list[str] = []
        self._handles: list[Any] = []
        for name, module in unwrap_model(model).named_modules():
            name = name or 'the model'
            self._handles += [
                module.register_forward_pre_hook(partial(self._enter, name), with_kwargs=True),
                module.register_forward_hook(partial(self._leave, name), always_call=True)]
        self._before = torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()
        torch.autograd.set_detect_anomaly(True)

    def remove(self) -> None:
        """Remove all hooks, and set autograd's mode as it was before."""
        for handle in self._handles:
            handle.remove()
        torch.autograd.set_detect_anomaly(*self._before)

    def clear(self) -> None:
        """Forget the modules of the last step."""
        self.first = self._operation = ''
        self._stack.clear()

    @contextmanager
    def named(self) -> Iterator[None]:
        """Name the module in autograd's error.

        Raises:
            AnomalyError: an operation of the backward pass in the context returned NaN.
        """
        try:
            yield
        except RuntimeError as error:
            if _NAN not in str(error):
                raise
            operation = self._operation or str(error)
            raise AnomalyError(f'the backward pass of {operation} returned NaN') from error

    def describe(self) -> str:
        """Phrase with the first module whose output was not finite; '' for none."""
        return f'first module whose output is not finite: {self.first}' if self.first else ''

    def _enter(self, name: str, module: nn.Module, args: tuple, kwargs: dict) -> None:
        if self._stack:  # what the outer module computed for this one
            self._tag((args, kwargs), self._stack[-1])
        self._stack.append(name)

    def _leave(self, name: str, module: nn.Module, args: tuple, output: Any) -> None:
        if self._stack:
            self._stack.pop()
        self._tag(output, name)
        if not self.first and not all(bool(tensor.isfinite().all())
                                      for _, tensor in named_tensors(output)):
            self.first = name

    def _tag(self, values: Any, name: str) -> None:
        """Store the module's name in all operations behind some tensors that have none yet."""
        nodes = [tensor.grad_fn for _, tensor in named_tensors(values)
                 if tensor.grad_fn is not None]
        while nodes:
            node: Any = nodes.pop()
            if _MODULE in node.metadata:
                continue
            node.metadata[_MODULE] = name
            node.register_hook(partial(self._check, node.name(), name))
            nodes += [after for after, _ in node.next_functions if after is not None]

    def _check(self, operation: str, name: str, inputs: tuple, outputs: tuple) -> None:
        """Keep the first operation of a backward pass that makes NaN from finite gradients."""
        if not self._operation and _has_nan(inputs) and not _has_nan(outputs):
            self._operation = f'{operation} in {name}'


def _has_nan(tensors: tuple[Tensor | None, ...]) -> bool:
    return any(tensor is not None and bool(tensor.isnan().any()) for tensor in tensors)
