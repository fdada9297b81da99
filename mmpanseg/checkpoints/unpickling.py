"""Safe reading of pickled checkpoints.

A pickle contains names of functions to call. This reader calls the functions that create tensors,
arrays and containers only. It replaces classes of known libraries (configs, logs) by inert objects
and raises an error for every other name.
"""
import collections
import io
import pickle
from typing import Any, Literal

import numpy as np
import torch

from mmpanseg.checkpoints.sources import CheckpointError


class Inert:
    """Placeholder for an object of another library; accepts and ignores every state."""

    def __new__(cls, *args: Any, **kwargs: Any) -> 'Inert':
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def _ignore(self, *args: Any) -> None:
        pass

    __setstate__ = __setitem__ = append = extend = add = _ignore


def _latin1(text: str, encoding: str) -> bytes:
    """Decode bytes in pickles of protocol 2."""
    if encoding != 'latin1':
        raise CheckpointError(f'it contains text in the encoding {encoding!r}')
    return text.encode('latin1')


def _storage_from_bytes(data: bytes) -> Any:
    return torch.load(io.BytesIO(data), map_location='cpu', weights_only=True)


def _array_from_buffer(buffer: bytes, dtype: np.dtype, shape: tuple[int, ...],
                       order: Literal['C', 'F']) -> np.ndarray:
    return np.frombuffer(buffer, dtype).reshape(shape, order=order)


_MULTIARRAY = (np._core if hasattr(np, '_core') else np.core).multiarray
_ALLOWED: dict[tuple[str, str], Any] = {
    # NumPy 2 renamed its core module; files of both versions are readable with both
    **{(f'numpy.{core}.{module}', name): function for core in ('core', '_core')
       for module, name, function in (
           ('multiarray', '_reconstruct', _MULTIARRAY._reconstruct),
           ('multiarray', 'scalar', _MULTIARRAY.scalar),
           ('numeric', '_frombuffer', _array_from_buffer))},
    ('numpy', 'ndarray'): np.ndarray,
    ('numpy', 'dtype'): np.dtype,
    ('collections', 'OrderedDict'): collections.OrderedDict,
    ('collections', 'defaultdict'): lambda *_: {},
    ('_codecs', 'encode'): _latin1,
    ('torch._utils', '_rebuild_tensor'): torch._utils._rebuild_tensor,
    ('torch._utils', '_rebuild_tensor_v2'): torch._utils._rebuild_tensor_v2,
    ('torch._utils', '_rebuild_parameter'): torch._utils._rebuild_parameter,
    ('torch.storage', '_load_from_bytes'): _storage_from_bytes,
    ('torch', 'Size'): torch.Size,
    ('torch', 'device'): torch.device,
    **{('builtins', kind.__name__): kind
       for kind in (set, frozenset, list, dict, tuple, int, float, complex, bool, str, bytes)},
    # names of methods and constructors in pickles of old protocols
    ('copyreg', '_reconstructor'): Inert,
    **{('builtins', name): Inert for name in ('getattr', 'object', 'slice', 'range', 'bytearray')},
}
_LIBRARIES = ('mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmpanseg', 'easymd', 'detectron2', 'fvcore',
              'yacs', 'omegaconf', 'addict', 'argparse', 'collections', 'datetime', 'pathlib',
              'numpy', 'torch')


class WeightsUnpickler(pickle.Unpickler):
    """Unpickler that creates tensors, arrays and containers only.

    Raises:
        CheckpointError: the pickle calls another function; the text names it.
    """

    def find_class(self, module: str, name: str) -> Any:
        """Return the allowed function or class of a name."""
        module = {'__builtin__': 'builtins', 'copy_reg': 'copyreg'}.get(module, module)
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        if module == 'torch':
            value = getattr(torch, name, None)
            if isinstance(value, torch.dtype) or name.endswith('Storage'):
                return value
        if module.split('.')[0] in _LIBRARIES:
            return Inert
        raise CheckpointError(
            f'it calls {module}.{name}, which no file of weights needs: not loaded')


class WeightsPickle:
    """Value of ``pickle_module`` for ``torch.load``."""

    __name__ = 'mmpanseg.checkpoints.unpickling'
    Unpickler = WeightsUnpickler

    @staticmethod
    def load(file: Any, **kwargs: Any) -> Any:
        """Load the content of an open file."""
        return WeightsUnpickler(file, **kwargs).load()
