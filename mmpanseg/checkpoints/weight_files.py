"""Reading weights from files of every kind, without running code that they contain."""
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

# where detectron2, mmengine and transformers put the weights
_WEIGHTS = ('state_dict', 'model')
_FOLDER_FILES = ('model.safetensors', 'model.safetensors.index.json', 'pytorch_model.bin',
                 'pytorch_model.bin.index.json')


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """All tensors of a checkpoint by name, on the CPU.

    Args:
        path: a file .pth, .pt, .bin (torch), .pkl (pickled arrays), .safetensors, or a folder of
            transformers with one of these.

    Raises:
        CheckpointError: the file is missing, truncated, no checkpoint, or its pickle asks to run
            code; one line that names the file.
    """
    return extract_weights(read_checkpoint(path), path)


def extract_weights(content: dict[str, Any], path: str | Path) -> dict[str, Tensor]:
    """All tensors of a checkpoint's content, see :func:`read_weights`."""
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
    """Everything in a checkpoint; objects of other libraries are replaced by inert ones.

    Raises:
        CheckpointError: as :func:`read_weights`.
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
    """What a file is that is certainly no whole checkpoint, in a few words; '' for others."""
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
    # torch's own reader for weights only refuses files with logs or configs beside the weights;
    # this pickle module is as strict about what may run
    return torch.load(path, map_location='cpu', weights_only=False, pickle_module=WeightsPickle)


def _read_folder(folder: Path) -> dict[str, Any]:
    """Weights of a folder as transformers writes it, in one file or several."""
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
    """Write tensors as transformers does."""
    _safetensors().torch.save_file(
        {key: value.contiguous() for key, value in state_dict.items()}, path,
        metadata=dict(format='pt'))


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ImportError as error:
        raise CheckpointError(
            'files of this format need a package: pip install safetensors') from error
    return safetensors
