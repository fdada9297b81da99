"""Safe reading of pickles: what is in a checkpoint is built, nothing else is called.

A pickle is a program that names functions and calls them. This unpickler knows the functions that
build tensors, arrays, containers and the training state of mmengine
(:mod:`mmpanseg.checkpoints.pickled_values`), and calls no others. Objects of known libraries that
nobody needs, such as configs of older versions, become :class:`Inert`; every other name is an
error.
"""
import pickle
import sys
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
import torch
from mmengine.config import ConfigDict

from mmpanseg.checkpoints.pickled_values import (
    BUILDERS,
    METHODS,
    STORAGES,
    TYPES,
    CopiedHistory,
    checked_key,
    set_array,
    set_byte_order,
)
from mmpanseg.checkpoints.sources import CheckpointError

# The pure Python implementation: the fast one sets attributes of any object that a pickle names.
_Base: Any = pickle._Unpickler
_LIBRARIES = ('mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmpanseg', 'easymd', 'detectron2', 'fvcore',
              'yacs', 'omegaconf', 'addict', 'argparse', 'collections', 'datetime', 'pathlib',
              'numpy', 'torch')
_OLD_MODULES = {'__builtin__': 'builtins', 'copy_reg': 'copyreg', 'torch.tensor': 'torch._tensor'}
# constructors in pickles of old protocols
_INERT = (('copyreg', '_reconstructor'), ('builtins', 'object'))
_LONGEST_NAME = 150
_TYPE_NAMES = {'xrange': range, **{kind.__name__: kind for kind in TYPES}}


class Inert:
    """An object that was not read.

    Args:
        name: module and class of the object, which are not imported.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f'<{self.name}, not read>'


class _Named(Inert):
    """A function or class that a pickle names; only the unpickler calls what builds its objects."""

    def __init__(self, name: str, build: Callable) -> None:
        super().__init__(name)
        self.build = build


class WeightsUnpickler(_Base):
    """Unpickler that builds tensors, arrays, containers and the state of a training only.

    Args:
        file: open file.
        load_storage: function of the persistent id of a storage, in files of torch.
        encoding: of texts in pickles of Python 2.
        size: number of bytes that are in the file at most; larger objects are refused.
        builders: {(module, name): function} in addition to those of all pickles.

    Raises:
        CheckpointError: the pickle calls another function; the text names it.
    """

    dispatch = dict(_Base.dispatch)

    def __init__(self, file: BinaryIO, load_storage: Callable[[Any], Any] | None = None,
                 encoding: str = 'utf-8', size: int = sys.maxsize,
                 builders: dict[tuple[str, str], Callable] | None = None) -> None:
        super().__init__(file, encoding=encoding)
        self._load_storage, self._size = load_storage, size
        self._builders = BUILDERS | (builders or {})

    def find_class(self, module: str, name: str) -> Any:
        """Return the builder or value of a name, or a placeholder."""
        module = _OLD_MODULES.get(module, module)
        full = f'{module}.{name}'
        if not full.isprintable() or len(full) > _LONGEST_NAME:  # texts of errors are one line
            full = repr(full)[:_LONGEST_NAME]
        if (module, name) in self._builders:
            return _Named(full, self._builders[module, name])
        if module == 'builtins' and name in _TYPE_NAMES:
            return _TYPE_NAMES[name]
        if (module, name) in STORAGES:
            return STORAGES[module, name]
        if (module, name) in METHODS:
            return METHODS[module, name]
        if module == 'torch' and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        if (module, name) == ('builtins', 'getattr'):
            return _Named(full, self._attribute)
        if (module, name) == ('torch._tensor', '_rebuild_from_type_v2'):
            return _Named(full, self._tensor_with_attributes)
        if (module, name) in _INERT or module.split('.')[0] in _LIBRARIES:
            return _Named(full, lambda *_: Inert(full))
        raise CheckpointError(f'it calls {full}, which no file of weights needs')

    def persistent_load(self, pid: Any) -> Any:
        """Return the storage of a persistent id."""
        if self._load_storage is None:
            raise CheckpointError('it refers to objects outside of it')
        return self._load_storage(pid)

    def _attribute(self, owner: Any, name: Any) -> Any:
        """Return a method of a class: pickles of protocol 2 name it in this way."""
        if not isinstance(owner, _Named) or not isinstance(name, str):
            raise CheckpointError(f'it reads the attribute {str(name)[:40]!r} of an object')
        module, _, kind = owner.name.rpartition('.')
        if (module, f'{kind}.{name}') in METHODS:
            return METHODS[module, f'{kind}.{name}']
        return Inert(f'{owner.name}.{name}')

    def _tensor_with_attributes(self, function: Any, kind: Any, args: Any, state: Any) -> Any:
        return self._call(function, args)

    def _call(self, function: Any, args: Any) -> Any:
        if isinstance(function, _Named):
            name, build = function.name, function.build
        elif isinstance(function, type) and function in TYPES:
            name, build = f'builtins.{function.__name__}', TYPES[function]
        else:
            raise CheckpointError(f'it calls an object of type {_kind(function)}')
        try:
            return build(*args)
        except (TypeError, AttributeError) as error:
            raise CheckpointError(f'it calls {name} with wrong arguments') from error

    def _reduce(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self._call(self.stack[-1], args)

    def _new_object_with_names(self) -> None:
        kwargs, args, kind = self.stack.pop(), self.stack.pop(), self.stack.pop()
        if kwargs:
            raise CheckpointError('it calls a constructor with named arguments')
        self.append(self._call(kind, args))

    def _instantiate(self, klass: Any, args: Any) -> None:
        self.append(self._call(klass, tuple(args)))

    def _build(self) -> None:
        """Set the state of an object."""
        state = self.stack.pop()
        value = self.stack[-1]
        if isinstance(value, Inert):
            return
        if type(value) is OrderedDict and isinstance(state, dict):
            if isinstance(state.get('_metadata'), dict):  # torch's versions of modules
                vars(value)['_metadata'] = state['_metadata']
        elif type(value) is np.ndarray:
            set_array(value, state)
        elif isinstance(value, np.dtype):
            set_byte_order(value, state)
        elif type(value) is CopiedHistory:
            value.fill(state)
        elif isinstance(value, torch.nn.Parameter) and not state:
            return
        else:
            raise CheckpointError(f'it sets the state of an object of type {_kind(value)}')

    def _append(self) -> None:
        value = self.stack.pop()
        self._extend([value])

    def _appends(self) -> None:
        self._extend(self.pop_mark())

    def _extend(self, values: list) -> None:
        target = self.stack[-1]
        if type(target) is list:
            target.extend(values)
        elif not isinstance(target, Inert):
            raise CheckpointError(f'it appends to an object of type {_kind(target)}')

    def _add_items(self) -> None:
        values = self.pop_mark()
        target = self.stack[-1]
        if type(target) is set:
            target.update(map(_key, values))
        elif not isinstance(target, Inert):
            raise CheckpointError(f'it adds to an object of type {_kind(target)}')

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def _set_items(self) -> None:
        self._set(self.pop_mark())

    def _set(self, items: list) -> None:
        target = self.stack[-1]
        if isinstance(target, Inert):
            return
        if type(target) not in (dict, OrderedDict, defaultdict, ConfigDict):
            raise CheckpointError(f'it sets items of an object of type {_kind(target)}')
        for key, value in zip(items[::2], items[1::2]):
            target[_key(key)] = value

    def _make_dict(self) -> None:
        items = self.pop_mark()
        self.append({_key(key): value for key, value in zip(items[::2], items[1::2])})

    def _make_frozen_set(self) -> None:
        self.append(frozenset(map(_key, self.pop_mark())))

    def _byte_array(self) -> None:
        size = int.from_bytes(self.read(8), 'little')
        if size > self._size:
            raise EOFError('an object is larger than the file')
        self.append(bytearray(self.read(size)))

    dispatch.update({
        pickle.REDUCE[0]: _reduce, pickle.NEWOBJ[0]: _reduce,
        pickle.NEWOBJ_EX[0]: _new_object_with_names, pickle.BUILD[0]: _build,
        pickle.APPEND[0]: _append, pickle.APPENDS[0]: _appends, pickle.ADDITEMS[0]: _add_items,
        pickle.SETITEM[0]: _set_item, pickle.SETITEMS[0]: _set_items, pickle.DICT[0]: _make_dict,
        pickle.FROZENSET[0]: _make_frozen_set, pickle.BYTEARRAY8[0]: _byte_array})


def _key(value: Any) -> Any:
    return repr(value) if isinstance(value, Inert) else checked_key(value)


def _kind(value: Any) -> str:
    return value.name if isinstance(value, Inert) else type(value).__name__
