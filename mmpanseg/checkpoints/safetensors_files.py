"""Reading and writing of safetensors: a header in JSON, then the values of all tensors."""
import json
import os
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from mmpanseg.checkpoints.class_names import METAINFO_KEYS
from mmpanseg.checkpoints.sources import CheckpointError
from mmpanseg.utils import strict_json
from mmpanseg.utils.atomic_files import replaced_file

SUFFIX = '.safetensors'
# Names of the format, little-endian.
_DTYPES = {
    'F64': torch.float64, 'F32': torch.float32, 'F16': torch.float16, 'BF16': torch.bfloat16,
    'I64': torch.int64, 'I32': torch.int32, 'I16': torch.int16, 'I8': torch.int8,
    'U8': torch.uint8, 'BOOL': torch.bool, 'C64': torch.complex64,
    'F8_E4M3': torch.float8_e4m3fn, 'F8_E5M2': torch.float8_e5m2,
    'U16': torch.uint16, 'U32': torch.uint32, 'U64': torch.uint64}
_LARGEST_HEADER = 100 << 20
# Entry of the file's texts that marks files of this library; holds `meta` without the other two.
_META, _CONFIG, _CLASSES = 'mmpanseg', 'cfg', 'dataset_meta'


def read_safetensors(file: BinaryIO) -> dict[str, Any]:
    """Read a file of this library or of another one.

    Args:
        file: open file with a position.

    Returns:
        For files of :func:`write_safetensors` a dict of ``state_dict`` and ``meta``, for others
        name -> tensor, on the CPU.

    Raises:
        CheckpointError: the header does not describe the file.
        ValueError: the header is no JSON.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    length = int.from_bytes(file.read(8), 'little')
    if length > min(size - 8, _LARGEST_HEADER):
        raise ValueError('the header is larger than the file')
    header = json.loads(file.read(length))
    if not isinstance(header, dict):
        raise CheckpointError('its header is no JSON object')
    texts = header.pop('__metadata__', None) or {}
    tensors, end = {}, 0
    for name, entry in sorted(header.items(), key=_start):
        dtype, shape, (start, stop) = _checked(name, entry)
        if start != end or stop > size - 8 - length:
            raise CheckpointError(f'the values of {name[:80]!r} are outside of it')
        end, values = stop, bytearray(file.read(stop - start))
        if len(values) != stop - start:
            raise CheckpointError(f'the values of {name[:80]!r} are missing')
        tensor = torch.frombuffer(values, dtype=dtype) if values else torch.empty(0, dtype=dtype)
        tensors[name] = tensor.reshape(shape)
    if not isinstance(texts, dict) or _META not in texts:
        return tensors
    return dict(state_dict=tensors, meta=_read_meta(texts))


def write_safetensors(state_dict: dict[str, Tensor], path: Path, meta: dict | None = None) -> None:
    """Write tensors, and what describes them.

    Args:
        state_dict: name -> tensor.
        path: path of the file.
        meta: plain values, as :func:`mmpanseg.checkpoints.publish.published_content` returns them;
            None for a file of another library.

    Raises:
        CheckpointError: the format has no name for the type of a tensor.
    """
    texts = dict(format='pt')
    if meta is not None:
        rest = {key: value for key, value in meta.items() if key not in (_CONFIG, _CLASSES)}
        texts[_META] = strict_json.dumps(rest)
        if _CLASSES in meta:
            texts[_CLASSES] = strict_json.dumps(meta[_CLASSES])
        if isinstance(meta.get(_CONFIG), str):
            texts[_CONFIG] = meta[_CONFIG]
    names = {dtype: name for name, dtype in _DTYPES.items()}
    header: dict[str, Any] = {'__metadata__': texts}
    # values of larger types first, so that each starts at a multiple of its size
    ordered = sorted(state_dict.items(), key=lambda item: (-item[1].element_size(), item[0]))
    end = 0
    for key, value in ordered:
        if value.dtype not in names:
            raise CheckpointError(f'safetensors has no type for {key}, {value.dtype}')
        start, end = end, end + value.numel() * value.element_size()
        header[key] = dict(dtype=names[value.dtype], shape=list(value.shape),
                           data_offsets=[start, end])
    text = strict_json.dumps(header, separators=(',', ':')).encode()
    text += b' ' * (-len(text) % 8)
    with replaced_file(path) as partial, partial.open('wb') as file:
        file.write(len(text).to_bytes(8, 'little') + text)
        for _, value in ordered:
            if value.numel():
                values = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
                file.write(values.numpy().data)


def _start(item: tuple[str, Any]) -> int:
    _, _, (start, _) = _checked(*item)
    return start


def _checked(name: str, entry: Any) -> tuple[torch.dtype, list[int], tuple[int, int]]:
    """Return type, shape, and first and last position of a tensor."""
    try:
        dtype, shape, (start, stop) = _DTYPES[entry['dtype']], entry['shape'], entry['data_offsets']
        count = 1
        for length in shape:
            count *= length if type(length) is int and length >= 0 else int('-')
        if type(start) is not int or start < 0 or stop - start != count * dtype.itemsize:
            raise ValueError
    except (LookupError, TypeError, ValueError) as error:
        raise CheckpointError(f'its header does not describe {name[:80]!r}') from error
    return dtype, shape, (start, stop)


def _read_meta(texts: dict[str, Any]) -> dict[str, Any]:
    """Return ``meta`` as a training of mmengine writes it: names and colors are tuples."""
    meta = json.loads(texts[_META])
    if not isinstance(meta, dict):
        raise CheckpointError(f'its entry {_META} is no JSON object')
    if isinstance(texts.get(_CONFIG), str):
        meta[_CONFIG] = texts[_CONFIG]
    if _CLASSES in texts:
        described = json.loads(texts[_CLASSES])
        if not isinstance(described, dict):
            raise CheckpointError(f'its entry {_CLASSES} is no JSON object')
        for key in (*METAINFO_KEYS, *map(str.upper, METAINFO_KEYS)):
            if isinstance(described.get(key), list):
                described[key] = _as_tuples(described[key], key.lower() == 'palette')
        meta[_CLASSES] = described
    return meta


def _as_tuples(values: list, palette: bool) -> tuple | list:
    """Convert lists of JSON to what METAINFO of a data set contains."""
    if palette:
        return [tuple(color) if isinstance(color, list) else color for color in values]
    return tuple(values)
