"""Reading of weights from all supported file formats, without execution of pickled code."""
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmpanseg.checkpoints.sources import CheckpointError
from mmpanseg.checkpoints.unpickling import WeightsPickle
from mmpanseg.utils.atomic_files import replaced_file

# keys of the weights in files of mmengine, transformers and detectron2
_WEIGHTS = ('state_dict', 'model')
_FOLDER_FILES = ('model.safetensors', 'model.safetensors.index.json', 'pytorch_model.bin',
                 'pytorch_model.bin.index.json')


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read all tensors of a checkpoint to the CPU.

    Args:
        path: file .pth, .pt, .bin (torch), .pkl (pickled arrays) or .safetensors, or a folder of
            transformers with one of these.

    Returns:
        name -> tensor.

    Raises:
        CheckpointError: the file is missing, truncated or no checkpoint, or its pickle calls other
            functions; the text names the file in one line.
    """
    return extract_weights(read_checkpoint(path), path)


def extract_weights(content: dict[str, Any], path: str | Path) -> dict[str, Tensor]:
    """Select all tensors in the content of a checkpoint.

    Args:
        content: result of :func:`read_checkpoint`.
        path: path of the file, for the error text.

    Raises:
        CheckpointError: it contains no tensors.
    """
    for key in _WEIGHTS:
        if isinstance(content.get(key), dict):
            content = content[key]
            break
    weights = {str(key).removeprefix('module.'): value.detach() if isinstance(value, Tensor) else
               torch.from_numpy(np.array(value))
               for key, value in content.items() if isinstance(value, (Tensor, np.ndarray))
               and getattr(value, 'dtype', None) != np.dtype(object)}
    if not weights:
        raise CheckpointError(f'{path}: there are no tensors in it; its entries are '
                              f'{", ".join(map(str, list(content)[:8])) or "none"}')
    return weights


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read the content of a checkpoint; objects of other libraries become inert placeholders.

    Args:
        path: see :func:`read_weights`.

    Raises:
        CheckpointError: see :func:`read_weights`.
    """
    path = Path(path)
    if not path.exists():
        raise CheckpointError(f'checkpoint {path} does not exist')
    if path.is_dir():
        return _read_folder(path)
    try:
        content = _read_file(path)
    except CheckpointError as error:
        raise CheckpointError(f'{path}: {error}') from error
    except (pickle.UnpicklingError, EOFError, RuntimeError, ValueError, LookupError, TypeError,
            AttributeError, OSError, zipfile.BadZipFile) as error:
        reason = str(error).strip().splitlines()
        raise CheckpointError(
            f'{path}: not a checkpoint, or not all of one; '
            f'{describe_broken_file(path) or "was the download complete?"} '
            f'({type(error).__name__}: {reason[0][:200] if reason else "no content"})') from error
    if not isinstance(content, dict):
        raise CheckpointError(f'{path}: a checkpoint is a dict of tensors, this holds a '
                              f'{type(content).__name__}')
    return content


def describe_broken_file(path: str | Path) -> str:
    """Describe a file that cannot be a complete checkpoint.

    Args:
        path: path of the file.

    Returns:
        the reason and the fix; '' if the file may be a checkpoint.
    """
    with open(path, 'rb') as file:
        start = file.read(256)
    if not start:
        return 'it is empty'
    if start.startswith(b'version https://git-lfs'):
        return 'it is a pointer of Git LFS, fetch the file itself with git lfs pull'
    if start.lstrip()[:1] in (b'<', b'{', b'[') and b'\0' not in start:
        return 'it is text, such as a page of the server that should have given the file'
    if start.startswith(b'\x1f\x8b') or start[:6] in (b'\xfd7zXZ\x00', b'7z\xbc\xaf\x27\x1c'):
        return 'it is a packed archive, unpack it'
    if start.startswith(b'PK'):
        if not zipfile.is_zipfile(path):
            return 'its end is missing, was the download complete?'
        with zipfile.ZipFile(path) as archive:
            if not any(name.endswith('.pkl') for name in archive.namelist()):
                return 'it is a packed archive, unpack it'
    return ''


def _read_file(path: Path) -> Any:
    if path.suffix == '.safetensors':
        safetensors = _safetensors()
        try:
            return safetensors.torch.load_file(path)
        except safetensors.SafetensorError as error:
            raise ValueError(str(error)) from error
    if path.suffix in ('.pkl', '.pickle') and not zipfile.is_zipfile(path):
        with path.open('rb') as file:
            return WeightsPickle.load(file, encoding='latin1')
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith('/constants.pkl') for name in archive.namelist()):
                raise CheckpointError('a TorchScript program, not a file of weights')
    # weights_only=True rejects files that also contain logs or configs; this pickle module allows
    # the same functions
    return torch.load(path, map_location='cpu', weights_only=False, pickle_module=WeightsPickle)


def _read_folder(folder: Path) -> dict[str, Any]:
    """Read the weights of a folder of transformers, in one or several files."""
    for name in _FOLDER_FILES:
        file = folder / name
        if not file.is_file():
            continue
        if file.suffix != '.json':
            return read_checkpoint(file)
        try:
            shards = sorted(set(json.loads(file.read_text())['weight_map'].values()))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise CheckpointError(f'{file}: not an index of weight files') from error
        weights: dict[str, Any] = {}
        for shard in shards:
            weights.update(read_checkpoint(folder / Path(shard).name))
        return weights
    raise CheckpointError(f'{folder}: a folder without any of {", ".join(_FOLDER_FILES)}')


def write_safetensors(state_dict: dict[str, Tensor], path: Path) -> None:
    """Write tensors in the format of transformers.

    Args:
        state_dict: name -> tensor.
        path: path of the file.

    Raises:
        FileWriteError: the disk is full or read-only.
    """
    safetensors = _safetensors()
    with replaced_file(path) as partial:
        try:
            safetensors.torch.save_file(
                {key: value.contiguous() for key, value in state_dict.items()}, partial,
                metadata=dict(format='pt'))
        except safetensors.SafetensorError as error:
            raise OSError(str(error)) from error


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ImportError as error:
        raise CheckpointError(
            'safetensors files need the package safetensors: pip install safetensors') from error
    return safetensors
