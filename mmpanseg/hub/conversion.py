"""Conversion of weights of other code bases for a config, into the cache."""
import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmpanseg.analysis.checkpoint_conversion import convert_file
from mmpanseg.checkpoints.safetensors_files import SUFFIX, write_safetensors
from mmpanseg.checkpoints.sources import FOREIGN_SUFFIXES, foreign_format
from mmpanseg.checkpoints.weight_files import extract_weights, read_checkpoint
from mmpanseg.engine import import_mmdet
from mmpanseg.utils import strict_json
from mmpanseg.utils.cache_folder import cache_folder
from mmpanseg.version import __version__

# In names of parameters of each other code base, and of mmdetection 2.
_FOREIGN_PARTS = (b'sem_seg_head.predictor.', b'model.transformer_module.', b'.attentions.')


def convert_weights(source: Path, cfg: Config, target: Path) -> None:
    """Convert a file, or a folder of transformers, to a file of safetensors.

    The result has exactly the tensors of the config's model, its labels are in the order of the
    config.

    Args:
        source: path of the weights.
        cfg: config of the model.
        target: file to write.

    Raises:
        CheckpointError: it is no checkpoint, or none of this config; in one line.
    """
    import_mmdet()
    result, _, known = convert_file(str(source), config=cfg)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_safetensors(result.state_dict, target, dict(
        mmpanseg_version=__version__, source=result.source, **known))


def is_foreign(path: Path, content: dict[str, Any] | None = None) -> bool:
    """Check whether only the conversion reads a file.

    Args:
        path: file of weights, or folder of transformers.
        content: its content, if it is read already.

    Raises:
        CheckpointError: it is no checkpoint.
    """
    if path.is_dir() or path.suffix.lower() in FOREIGN_SUFFIXES:
        return True
    if content is None and path.suffix.lower() == SUFFIX:
        return bool(foreign_format(_safetensors_names(path)))
    if content is None:
        if not _may_be_foreign(path):
            return False
        content = read_checkpoint(path)
    return bool(foreign_format(extract_weights(content, path)))


def _may_be_foreign(path: Path) -> bool:
    """Search a file of torch for parts of names; its tensors, often a gigabyte, are not read."""
    if not zipfile.is_zipfile(path):
        return True
    with zipfile.ZipFile(path) as archive:
        texts = [entry for entry in archive.infolist() if entry.filename.endswith('/data.pkl')]
        if any(entry.file_size > path.stat().st_size for entry in texts):
            return True  # packed; the reader refuses it
        return any(part in text for text in map(archive.read, texts) for part in _FOREIGN_PARTS)


def _safetensors_names(path: Path) -> list[str]:
    """Names in the header of a file; its tensors are not read."""
    with path.open('rb') as file:
        length = int.from_bytes(file.read(8), 'little')
        try:
            header = json.loads(file.read(min(length, path.stat().st_size)))
        except ValueError:
            return []  # the error of reading it names the reason
    return [name for name in header if name != '__metadata__'] if isinstance(header, dict) else []


def converted_path(source: Path, cfg: Config) -> Path:
    """Return the path of the converted weights in the cache, which may not exist.

    Args:
        source: file of weights, or folder of transformers. A changed file has another path.
        cfg: config of the model.
    """
    files = [source] if source.is_file() else sorted(
        path for path in source.iterdir() if path.is_file())
    facts = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    text = strict_json.dumps([facts, cfg.model, __version__], default=str)
    digits = hashlib.sha256(text.encode()).hexdigest()[:16]
    return cache_folder() / 'converted' / f'{source.stem}-{digits}{SUFFIX}'
