"""Reading pickles without running what they ask for.

Checkpoints are pickles: lists of functions to call. The reader here knows the few functions that
make tensors, arrays and containers, puts an inert object in the place of a library's own classes
(configs, logs: whatever is not a weight), and refuses any other name.
"""
import collections
import io
import pickle
from typing import Any

import numpy as np
import torch

from mmpanseg.checkpoints.sources import CheckpointError


class Inert:
    """Stands for an object of another library; takes every state and does nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> 'Inert':
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def _ignore(self, *args: Any) -> None:
        pass

    __setstate__ = __setitem__ = append = extend = add = _ignore


def _latin1(text: str, encoding: str) -> bytes:
    """Bytes as pickles of protocol 2 write them."""
    if encoding != 'latin1':
        raise CheckpointError(f'it holds text in the encoding {encoding!r}')
    return text.encode('latin1')


def _storage_from_bytes(data: bytes) -> Any:
    return torch.load(io.BytesIO(data), map_location='cpu', weights_only=True)


def _array_from_buffer(buffer: bytes, dtype: np.dtype, shape: tuple, order: str) -> np.ndarray:
    return np.frombuffer(buffer, dtype).reshape(shape, order=order)


_MULTIARRAY = (np._core if hasattr(np, '_core') else np.core).multiarray
_ALLOWED: dict[tuple[str, str], Any] = {
    # numpy renamed its core in version 2: files of both read with both
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
    # how pickles of old protocols name methods and make objects of a library's classes
    ('copyreg', '_reconstructor'): Inert,
    **{('builtins', name): Inert for name in ('getattr', 'object', 'slice', 'range', 'bytearray')},
}
_LIBRARIES = ('mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmpanseg', 'easymd', 'detectron2', 'fvcore',
              'yacs', 'omegaconf', 'addict', 'argparse', 'collections', 'datetime', 'pathlib',
              'numpy', 'torch')


class WeightsUnpickler(pickle.Unpickler):
    """Unpickler that makes tensors, arrays and containers, and runs nothing else.

    Raises:
        CheckpointError: the pickle asks for another function; the text names it.
    """

    def find_class(self, module: str, name: str) -> Any:
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
            f'it asks to run {module}.{name}, which no file of weights needs: not loaded')


class WeightsPickle:
    """What ``torch.load`` takes as ``pickle_module``."""

    __name__ = 'mmpanseg.checkpoints.unpickling'
    Unpickler = WeightsUnpickler

    @staticmethod
    def load(file: Any, **kwargs: Any) -> Any:
        """Content of an open file."""
        return WeightsUnpickler(file, **kwargs).load()
