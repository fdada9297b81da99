"""Reading of torch's files, of both forms: a zip archive, and consecutive pickles before 1.6.

``torch.load`` trusts the sizes in a file; a tensor that is larger than its values would read and
write memory beyond them. Here every size is compared with the file first.
"""
import io
import os
import sys
import zipfile
from collections.abc import Callable
from typing import Any, BinaryIO

import torch

from mmpanseg.checkpoints.pickled_values import StorageKind, StoredValues, is_count
from mmpanseg.checkpoints.sources import CheckpointError
from mmpanseg.checkpoints.unpickling import WeightsUnpickler

# What torch.load takes: a device, {location in the file: device}, or a function of both.
MapLocation = str | torch.device | dict | Callable | None
_MAGIC, _PROTOCOL = 0x1950a86a20f9469cfc6c, 1001


def read_torch_file(file: BinaryIO, map_location: MapLocation = 'cpu') -> Any:
    """Read a file of ``torch.save``; see :class:`WeightsUnpickler` for what it may contain.

    Args:
        file: open file with a position.
        map_location: see ``torch.load``; None restores the devices of the file.

    Raises:
        CheckpointError: the file is a program, or contains what no checkpoint needs.
        ValueError: the file is none of torch or not all of one, as are EOFError, LookupError,
            pickle.UnpicklingError and zipfile.BadZipFile.
    """
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            return _read_zip(archive, _size(file), map_location)
    file.seek(0)
    return _Consecutive(file, map_location).read()


def read_pickle(file: BinaryIO) -> Any:
    """Read a pickle of arrays or tensors, also of Python 2.

    Args:
        file: open file with a position.

    Raises:
        CheckpointError: see :func:`read_torch_file`, also for other errors.
    """
    return WeightsUnpickler(file, encoding='latin1', size=_size(file), builders=_NESTED).load()


def _size(file: BinaryIO) -> int:
    position = file.tell()
    size = file.seek(0, os.SEEK_END)
    file.seek(position)
    return size


def _read_zip(archive: zipfile.ZipFile, size: int, map_location: MapLocation) -> Any:
    entries = {entry.filename: entry for entry in archive.infolist()}
    if any(name.endswith('constants.pkl') for name in entries):
        raise CheckpointError('a TorchScript program, not a file of weights')
    # packed or overlapping entries can be larger than the file
    if sum(entry.file_size for entry in entries.values()) > size:
        raise CheckpointError('its entries are larger than the file')
    pickles = [name for name in entries if name.count('/') == 1 and name.endswith('/data.pkl')]
    if len(pickles) != 1:
        raise ValueError('an archive without data.pkl')
    folder = pickles[0].partition('/')[0]
    order = f'{folder}/byteorder'
    if order in entries and archive.read(order).decode() != sys.byteorder:
        raise CheckpointError('it was written by a machine with another byte order')
    loaded: dict[str, StoredValues] = {}

    def load_storage(pid: Any) -> StoredValues:
        kind, key, location, count = _storage_parts(pid, 4)
        if key not in loaded:
            entry = entries[f'{folder}/data/{key}']
            if count * kind.dtype.itemsize > entry.file_size:
                raise CheckpointError('the values of a tensor in it have another size')
            memory = torch.UntypedStorage(entry.file_size)
            with archive.open(entry) as values:
                _fill(memory, values)
            loaded[key] = StoredValues(_restore(memory, location, map_location), kind.dtype)
        return StoredValues(loaded[key].memory, kind.dtype)

    content = archive.read(pickles[0])
    return WeightsUnpickler(io.BytesIO(content), load_storage, size=len(content)).load()


class _Consecutive:
    """Reader of the older form: pickles one after the other, then the values of all storages.

    Args:
        file: open file.
        map_location: see ``torch.load``.
    """

    def __init__(self, file: BinaryIO, map_location: MapLocation) -> None:
        self.file, self.size, self.map_location = file, _size(file), map_location
        self.storages: dict[str, StoredValues] = {}
        self.empty: dict[str, torch.UntypedStorage] = {}
        self.total = 0

    def read(self) -> Any:
        """Return the object in the file."""
        if self._pickle() != _MAGIC or self._pickle() != _PROTOCOL:
            raise ValueError('not a file of torch')
        system = self._pickle()
        little = system.get('little_endian', True) if isinstance(system, dict) else True
        if little is not (sys.byteorder == 'little'):
            raise CheckpointError('it was written by a machine with another byte order')
        value = self._pickle(self._load_storage)
        keys = self._pickle()
        for key in keys if isinstance(keys, list) else []:
            memory = self.empty.pop(key)
            count = int.from_bytes(self.file.read(8), sys.byteorder, signed=True)
            if count * self.storages[key].dtype.itemsize != memory.nbytes():
                raise CheckpointError('the values of a tensor in it have another size')
            _fill(memory, self.file)
            if self.storages[key].memory is not memory:  # on another device
                self.storages[key].memory.copy_(memory)
        if self.empty:
            raise EOFError('the values of tensors are missing')
        return value

    def _pickle(self, load_storage: Callable | None = None) -> Any:
        return WeightsUnpickler(self.file, load_storage, size=self.size).load()

    def _load_storage(self, pid: Any) -> StoredValues:
        kind, key, location, count, view = _storage_parts(pid, 5)
        if key not in self.storages:
            self.total += count * kind.dtype.itemsize
            if self.total > self.size:
                raise EOFError('tensors are larger than the file')
            memory = torch.UntypedStorage(count * kind.dtype.itemsize)
            self.empty[key] = memory
            self.storages[key] = StoredValues(
                _restore(memory, location, self.map_location), kind.dtype)
        stored = self.storages[key]
        if view is None:
            return stored
        _, offset, size = view
        if not is_count(offset) or not is_count(size):
            raise CheckpointError('the values of a tensor in it have another size')
        length = stored.dtype.itemsize
        return StoredValues(stored.memory[offset * length:(offset + size) * length], stored.dtype)


def _storage_parts(pid: Any, length: int) -> Any:
    """Check the persistent id of a storage, a tuple that begins with 'storage'."""
    if (not isinstance(pid, tuple) or len(pid) != length + 1
            or pid[0] not in ('storage', b'storage')
            or not isinstance(pid[1], StorageKind) or not isinstance(pid[2], str)
            or not isinstance(pid[3], (str, bytes)) or not is_count(pid[4])):
        raise CheckpointError('it refers to objects outside of it')
    return pid[1:]


def _fill(memory: torch.UntypedStorage, file: Any) -> None:
    if not memory.nbytes():
        return
    buffer = torch.tensor([], dtype=torch.uint8).set_(memory).numpy().data
    while buffer:
        count = file.readinto(buffer)
        if not count:
            raise EOFError('the values of tensors are missing')
        buffer = buffer[count:]


def _restore(memory: torch.UntypedStorage, location: Any, map_location: MapLocation) -> Any:
    """Move values to their device, as ``torch.load`` does."""
    location = location.decode('ascii') if isinstance(location, bytes) else location
    if callable(map_location):
        return map_location(memory, location) or _to_device(memory, location)
    if isinstance(map_location, dict):
        return _to_device(memory, str(map_location.get(location, location)))
    return _to_device(memory, location if map_location is None else str(map_location))


def _to_device(memory: torch.UntypedStorage, location: str) -> Any:
    return torch.serialization.default_restore_location(memory, location)


def _read_nested(data: Any) -> StoredValues:
    """Read a storage: outside of torch's files, each one is a file of torch in itself."""
    if not isinstance(data, bytes):
        raise CheckpointError('a tensor in it has no values')
    stored = read_torch_file(io.BytesIO(data))
    if not isinstance(stored, StoredValues):
        raise CheckpointError('a tensor in it has no values')
    return stored


_NESTED: dict[tuple[str, str], Callable] = {('torch.storage', '_load_from_bytes'): _read_nested}
