"""A simulated device: its tensors are computed on the CPU, and synchronizations are counted.

Stands in for a GPU where there is none. Tensors and factory functions with ``device='meta'`` give
wrappers of tensors on the CPU. As on a GPU, operators refuse to mix them with tensors of the host.
"""
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Optional
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from mmpanseg.models.layers import deformable_sampling
from mmpanseg.utils import device as staging

DEVICE = torch.device('meta')

# The host needs the value, or the size of the result. bincount reads its input's range.
_READING = {'_local_scalar_dense', 'nonzero', 'masked_select', '_unique2', 'unique_dim',
            'unique_consecutive', 'is_nonzero', 'equal', 'nonzero_numpy', 'bincount', 'histc'}
_INDEXING = {'index', 'index_put', 'index_put_', '_index_put_impl_', '_unsafe_index',
             '_unsafe_index_put'}
# operators of this library, whose inner operators are counted
_OWN = {'deformable_sampling': deformable_sampling._compute,
        'deformable_sampling_backward': deformable_sampling._compute_backward}


class FarTensor(Tensor):
    """A tensor on the simulated device; ``host`` holds its values."""

    host: Tensor

    @staticmethod
    def __new__(cls, host: Tensor) -> 'FarTensor':
        far = Tensor._make_wrapper_subclass(
            cls, host.shape, strides=host.stride(), storage_offset=host.storage_offset(),
            dtype=host.dtype, device=DEVICE)
        far.host = host
        return far

    def __repr__(self) -> str:
        return f'FarTensor({self.host})'

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return PretendedDevice.current._run(func, args, kwargs or {})


class PretendedDevice(TorchDispatchMode):
    """Context with the simulated device. ``waits``: synchronizations by operator;
    ``places``: the lines of the library that did.
    """

    current: Optional['PretendedDevice'] = None

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter = Counter()
        self.places: list[str] = []
        # device of pinned buffers
        self.pinned: set[int] = set()

    def __enter__(self) -> 'PretendedDevice':
        PretendedDevice.current = self
        tolist = Tensor.tolist
        self._patches = ExitStack()
        for owner, name, value in (
                (staging, 'pin_memory', self._pin),
                (torch, 'tensor', _from_data(torch.tensor)),
                (torch, 'as_tensor', _from_data(torch.as_tensor)),
                (Tensor, 'new_tensor', _new_tensor),
                # does not accept subclasses of tensors
                (Tensor, 'tolist', lambda x: tolist(x.cpu() if x.device == DEVICE else x))):
            self._patches.enter_context(mock.patch.object(owner, name, value))
        return super().__enter__()

    def __exit__(self, *error) -> None:
        super().__exit__(*error)
        self._patches.close()

    def _pin(self, buffer: Tensor, device: torch.device) -> Tensor:
        self.pinned.add(buffer.data_ptr())
        return buffer

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return self._run(func, args, kwargs or {})

    def _run(self, func, args: tuple, kwargs: dict):
        name = func.overloadpacket.__name__
        far = [x for x in tree_leaves((args, kwargs)) if isinstance(x, FarTensor)]
        device = kwargs.get('device')
        goes = device is not None and torch.device(device) == DEVICE
        if not far and not goes:
            return func(*args, **kwargs)
        if func.namespace == 'mmpanseg':
            super().__enter__()
            try:
                return _OWN[name](*args, **kwargs)
            finally:
                super().__exit__(None, None, None)
        self._count(name, args, kwargs, far, goes)
        host_args, host_kwargs = tree_map_only(FarTensor, lambda x: x.host, (args, kwargs))
        if 'device' in host_kwargs:
            host_kwargs['device'] = torch.device('cpu')
        if name == '_to_copy':  # on one device that may be no copy at all
            host_kwargs.pop('non_blocking', None)
        result = func(*host_args, **host_kwargs)
        if not goes and device is not None:
            return result
        known = {id(x.host): x for x in far}
        return tree_map_only(Tensor, lambda x: known.get(id(x)) if id(x) in known
                             else FarTensor(x), result)

    def _wait(self, name: str) -> None:
        self.waits[name] += 1
        lines = [frame for frame in traceback.extract_stack() if '/mmpanseg/' in frame.filename]
        self.places += [f'{name}: {frame.filename}:{frame.lineno}' for frame in lines[-1:]]

    def _count(self, name: str, args: tuple, kwargs: dict, far: list, goes: bool) -> None:
        if name == '_to_copy':
            source = args[0]
            if isinstance(source, FarTensor):
                if 'device' in kwargs and not goes:
                    self._wait('to host')
            elif not (kwargs.get('non_blocking') and source.data_ptr() in self.pinned):
                self._wait('to device')
            return
        if name == 'copy_' and isinstance(args[0], FarTensor) != isinstance(args[1], FarTensor):
            self._wait('to device' if isinstance(args[0], FarTensor) else 'to host')
            return
        if name in _READING:
            self._wait(name)
        if name in _INDEXING:
            for index in args[1]:
                if index is not None and index.dtype in (torch.bool, torch.uint8):
                    self._wait('boolean index')
                elif index is not None and not isinstance(index, FarTensor):
                    self._wait('index of the host')
            return
        if name == 'repeat_interleave' and not kwargs.get('output_size'):
            self._wait(name)
        near = [x for x in tree_leaves((args, kwargs))
                if isinstance(x, Tensor) and not isinstance(x, FarTensor) and x.ndim]
        if far and near:
            raise RuntimeError(f'{name} mixes tensors of the host and of the device')


def _from_data(original: Callable) -> Callable:
    """torch.tensor creates a tensor on the host and copies it; on meta it would have no values."""
    def build(data, *args, device=None, **options):
        made = original(data, *args, **options)
        return made if device is None else made.to(device)
    return build


def _new_tensor(x: Tensor, data, **options) -> Tensor:
    return torch.tensor(data, **{'dtype': x.dtype, 'device': x.device, **options})
