"""Builders of what checkpoints contain: tensors, arrays, containers, training state of mmengine.

Each builder accepts the arguments that a pickle of such a value contains, and checks them, since a
file can contain others: sizes beyond the file, pointers in place of numbers, functions in place of
values.
"""
import re
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler
from torch import Tensor

from mmpanseg.checkpoints.sources import CheckpointError

_MULTIARRAY = (np._core if hasattr(np, '_core') else np.core).multiarray
# Views may repeat values (stride 0), up to this number of values.
_LARGEST_REPETITION = 1 << 24
# Booleans, numbers, texts and, in arrays, objects. Neither structures nor dates.
_DTYPE = re.compile(r'[<>=|]?(b1|\?|[iufc]\d{1,2}|[SU]\d{1,9}|O8?)')


class StoredValues(NamedTuple):
    """Memory of one or several tensors.

    Attributes:
        memory: the values as bytes.
        dtype: their type; uint8 if the tensors name it.
    """
    memory: torch.UntypedStorage
    dtype: torch.dtype


class StorageKind(NamedTuple):
    """A storage class of torch, by the type of its values."""
    dtype: torch.dtype


def is_count(value: Any) -> bool:
    """Check that a value is an int of at least 0."""
    return type(value) is int and 0 <= value < 1 << 62


def make_tensor(stored: Any, offset: Any, size: Any, stride: Any, requires_grad: Any = False,
                hooks: Any = None, dtype: Any = None, metadata: Any = None) -> Tensor:
    """Build a tensor; all its values are inside of its storage.

    Args:
        stored: :class:`StoredValues`.
        offset: index of its first value.
        size: its shape.
        stride: steps between values, as long as ``size``.
        requires_grad: see torch.Tensor.
        hooks: not used; torch writes an empty dict.
        dtype: type of the values if it is not that of the storage; other entries here are not used.
        metadata: not used.

    Raises:
        CheckpointError: an argument has another type, or values are outside of the storage.
    """
    if not isinstance(stored, StoredValues):
        raise CheckpointError('a tensor in it has no values')
    if not isinstance(dtype, torch.dtype):  # version 2 has metadata here
        dtype = stored.dtype
    size, stride = tuple(size), tuple(stride)
    if len(size) != len(stride) or not all(map(is_count, (offset, *size, *stride))):
        raise CheckpointError('a tensor in it has an impossible shape')
    available = stored.memory.nbytes() // dtype.itemsize
    count = prod(size)
    used = offset + sum((n - 1) * step for n, step in zip(size, stride)) + 1 if count else 0
    if used > available or count > max(available, _LARGEST_REPETITION):
        raise CheckpointError(f'a tensor of shape {list(size)} in it is larger than its values')
    tensor = torch.empty(0, dtype=dtype, device=stored.memory.device)
    tensor.set_(stored.memory, offset, size, stride)
    return tensor.requires_grad_() if requires_grad is True else tensor


def _make_parameter(data: Any, requires_grad: Any, hooks: Any, state: Any = None) -> Any:
    if not isinstance(data, Tensor):
        raise CheckpointError('a parameter in it is no tensor')
    return torch.nn.Parameter(data, requires_grad is True)


def _make_size(size: Any) -> torch.Size:
    if not isinstance(size, (list, tuple)) or not all(map(is_count, size)):
        raise CheckpointError('a size in it is none')
    return torch.Size(size)


def _make_device(kind: Any, index: Any = None) -> torch.device:
    if not isinstance(kind, str) or not (index is None or is_count(index)):
        raise CheckpointError('a device in it is none')
    return torch.device(kind) if index is None else torch.device(kind, index)


def make_dtype(text: Any, align: Any = False, copy: Any = True) -> np.dtype:
    """Build the type of an array, a new object whose byte order may be set.

    Raises:
        CheckpointError: it is not one of booleans, numbers, texts or objects.
    """
    if not isinstance(text, str) or not _DTYPE.fullmatch(text):
        raise CheckpointError(f'it contains an array of type {str(text)[:40]!r}')
    return np.dtype(text, align=False, copy=True)


def set_byte_order(dtype: Any, state: Any) -> None:
    """Set the state of a type; of all that it can express, only the byte order.

    Raises:
        CheckpointError: it has fields or another size, with which memory would be misread.
    """
    if (not isinstance(state, tuple) or len(state) < 8 or state[1] not in ('<', '>', '|', '=')
            or any(part is not None for part in state[2:5])
            or state[5] not in (-1, dtype.itemsize)):
        raise CheckpointError('it contains an array of structures')
    own = list(dtype.__reduce__()[2])
    own[1] = state[1]
    dtype.__setstate__(tuple(own))


def _make_array(kind: Any, shape: Any, code: Any) -> np.ndarray:
    """Build an empty array, which :func:`set_array` fills."""
    return np.ndarray(0, 'b')


def set_array(array: Any, state: Any) -> None:
    """Fill an array.

    Args:
        array: array of :func:`_make_array`.
        state: version, shape, type, whether it is in Fortran's order, values.

    Raises:
        CheckpointError: the values are not as many as its shape says.
    """
    if isinstance(state, tuple) and len(state) == 4:
        state = (1, *state)
    if not isinstance(state, tuple) or len(state) != 5:
        raise CheckpointError('an array in it has no values')
    version, shape, dtype, fortran, values = state
    if isinstance(values, str):
        values = values.encode('latin1')
    kind = list if isinstance(dtype, np.dtype) and dtype.hasobject else bytes
    if (not isinstance(dtype, np.dtype) or not isinstance(shape, tuple)
            or not all(map(is_count, shape)) or not isinstance(values, kind)
            or len(values) != prod(shape) * (1 if kind is list else dtype.itemsize)):
        raise CheckpointError('an array in it has another size than its values')
    array.__setstate__((1, shape, dtype, bool(fortran), values))


def _make_scalar(dtype: Any, value: Any = b'') -> Any:
    if isinstance(value, str):
        value = value.encode('latin1')
    if (not isinstance(dtype, np.dtype) or dtype.hasobject or not isinstance(value, bytes)
            or len(value) != dtype.itemsize):
        raise CheckpointError('a number in it has another size than its value')
    return _MULTIARRAY.scalar(dtype, value)


def _array_from_buffer(buffer: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    if (not isinstance(dtype, np.dtype) or dtype.hasobject or order not in ('C', 'F')
            or not isinstance(buffer, (bytes, bytearray))):
        raise CheckpointError('an array in it has no values')
    return np.frombuffer(buffer, dtype).reshape(shape, order=order)


class CopiedHistory(HistoryBuffer):
    """Loss history of mmengine while it is read, a HistoryBuffer afterwards.

    HistoryBuffer itself would take functions for all histories of the process from the file.
    """

    def __init__(self) -> None:
        pass

    def fill(self, state: Any) -> None:
        """Set its values and become a HistoryBuffer.

        Raises:
            CheckpointError: they are no arrays of numbers, or its functions are not mmengine's.
        """
        if not isinstance(state, dict):
            raise CheckpointError('a history in it has no values')
        state = dict(state)
        methods = state.pop('statistics_methods', {})
        arrays = [state.get(name) for name in ('_log_history', '_count_history')]
        if (state.keys() != {'max_length', '_log_history', '_count_history'}
                or not is_count(state['max_length'])
                or not all(isinstance(array, np.ndarray) and array.dtype.kind in 'biuf'
                           for array in arrays)):
            raise CheckpointError('a history in it has no values')
        known = {**_HISTORY_METHODS, **HistoryBuffer._statistics_methods}
        if not isinstance(methods, dict) or any(
                known.get(name) is not method for name, method in methods.items()):
            raise CheckpointError('a history in it has functions that are not registered')
        become: Any = self
        become.__class__ = HistoryBuffer
        become.__setstate__(state)


def checked_key(key: Any) -> Any:
    """Return a key of a dict or set.

    Raises:
        CheckpointError: it is neither a plain value nor a tuple of plain values.
    """
    if isinstance(key, _KEYS) or isinstance(key, (tuple, frozenset)) and all(
            isinstance(part, _KEYS) for part in key):
        return key
    raise CheckpointError(f'a dict or set in it has a key of type {type(key).__name__}')


def _make_config_dict(content: Any = None) -> ConfigDict:
    if content is not None and not isinstance(content, dict):
        raise CheckpointError('a config in it is no dict')
    return ConfigDict(content or {})


def _make_default_dict(factory: Any = None) -> dict:
    return defaultdict(factory if factory in _FACTORIES else None)


def _make_ordered_dict(*args: Any) -> OrderedDict:
    return OrderedDict((checked_key(key), value) for key, value in _items(*args))


def _make_counter(counts: Any = None) -> Counter:
    if counts is not None and not isinstance(counts, dict):
        raise TypeError
    return Counter(counts)


def _items(*args: Any) -> Any:
    """Return the only argument of a container, which is a container; () without arguments."""
    if len(args) > 1 or args and not isinstance(args[0], (list, tuple, set, frozenset)):
        raise TypeError
    return args[0] if args else ()


def _keys(*args: Any) -> list:
    return list(map(checked_key, _items(*args)))


def _make_bytes(*args: Any) -> bytes:
    if args and isinstance(args[0], str):
        return _latin1(*args)
    if args and isinstance(args[0], (bytes, bytearray)):
        return bytes(*args)
    return bytes(_items(*args))  # a number would be the size of new memory


def _latin1(text: Any, encoding: Any) -> bytes:
    """Decode bytes in pickles of protocol 2."""
    if encoding not in ('latin1', 'latin-1') or not isinstance(text, str):
        raise CheckpointError(f'it contains text in the encoding {str(encoding)[:40]!r}')
    return text.encode('latin1')


def _number(kind: Callable) -> Callable:
    def build(*args: Any) -> Any:
        if any(type(arg) not in (int, float, bool, complex) for arg in args):
            raise TypeError
        return kind(*args)
    return build


# A tuple in a tuple is not among them: C code hashes it recursively.
_KEYS = (str, int, float, complex, bool, bytes, type(None), np.generic, torch.dtype)
_FACTORIES = (list, dict, set, int, float, str)

# Types that are values too, and the function that builds an object of each.
TYPES: dict[type, Callable] = {
    set: lambda *args: set(_keys(*args)), frozenset: lambda *args: frozenset(_keys(*args)),
    list: lambda *args: list(_items(*args)), tuple: lambda *args: tuple(_items(*args)),
    dict: lambda *args: dict(_make_ordered_dict(*args)), bytes: _make_bytes,
    bytearray: lambda *args: bytearray(_make_bytes(*args)), str: lambda *args: ''.join(args),
    slice: slice, range: range,
    **{kind: _number(kind) for kind in (int, float, complex, bool)}}

# Storage classes of torch; of a cuda tensor the module is torch.cuda.
STORAGES = {
    **{(module, f'{name}Storage'): StorageKind(dtype) for module in ('torch', 'torch.cuda')
       for name, dtype in dict(
           Double=torch.float64, Float=torch.float32, Half=torch.float16, BFloat16=torch.bfloat16,
           Long=torch.int64, Int=torch.int32, Short=torch.int16, Char=torch.int8,
           Byte=torch.uint8, Bool=torch.bool, ComplexDouble=torch.complex128,
           ComplexFloat=torch.complex64, Untyped=torch.uint8).items()},
    ('torch.storage', 'UntypedStorage'): StorageKind(torch.uint8)}

# Methods that a training stores: {(module, qualified name): method}.
_HISTORY_METHODS = {name: getattr(HistoryBuffer, name)
                    for name in ('min', 'max', 'current', 'mean')}
METHODS: dict[tuple[str, str], Callable] = {
    **{(HistoryBuffer.__module__, f'HistoryBuffer.{name}'): method
       for name, method in _HISTORY_METHODS.items()},
    **{(OneCycleParamScheduler.__module__, f'OneCycleParamScheduler.{name}'):
       getattr(OneCycleParamScheduler, name) for name in ('_annealing_cos', '_annealing_linear')}}

# Functions that a pickle may call: {(module, name): builder}.
BUILDERS: dict[tuple[str, str], Callable] = {
    # NumPy 2 renamed its core module; files of both versions are readable with both
    **{(f'numpy.{core}.{module}', name): function for core in ('core', '_core')
       for module, name, function in (
           ('multiarray', '_reconstruct', _make_array), ('multiarray', 'scalar', _make_scalar),
           ('numeric', '_frombuffer', _array_from_buffer))},
    ('numpy', 'dtype'): make_dtype,
    ('collections', 'OrderedDict'): _make_ordered_dict,
    ('collections', 'defaultdict'): _make_default_dict,
    ('collections', 'Counter'): _make_counter,
    ('_codecs', 'encode'): _latin1,
    ('torch._utils', '_rebuild_tensor'): make_tensor,
    ('torch._utils', '_rebuild_tensor_v2'): make_tensor,
    ('torch._utils', '_rebuild_tensor_v3'): make_tensor,
    ('torch._utils', '_rebuild_parameter'): _make_parameter,
    ('torch._utils', '_rebuild_parameter_with_state'): _make_parameter,
    ('torch', 'Size'): _make_size,
    ('torch', 'device'): _make_device,
    ('mmengine.config.config', 'ConfigDict'): _make_config_dict,
    (HistoryBuffer.__module__, 'HistoryBuffer'): CopiedHistory}
