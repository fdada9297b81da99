"""Class names in checkpoints."""
import json
from pathlib import Path
from typing import Any, NamedTuple

# key that the export of this library adds to config.json of transformers
EXPORT_ENTRY = 'mmpanseg'

# entries of a dataset's metainfo that checkpoints contain
METAINFO_KEYS = ('classes', 'thing_classes', 'stuff_classes', 'palette')


class CheckpointClasses(NamedTuple):
    """Classes of a checkpoint.

    Attributes:
        names: class names by label; empty if unknown.
        own_order: True if this library exported the checkpoint, so that its labels are those of the
            config.
    """
    names: tuple[str, ...] = ()
    own_order: bool = False


def read_class_names(content: dict[str, Any], path: str | Path) -> CheckpointClasses:
    """Read the class names of a checkpoint.

    Args:
        content: result of :func:`mmpanseg.checkpoints.weight_files.read_checkpoint`.
        path: path of the file, or of a folder of transformers, whose ``config.json`` contains the
            names.
    """
    names = class_names_of_meta(content.get('meta'))
    if names:
        return CheckpointClasses(names)
    path = Path(path)
    file = (path if path.is_dir() else path.parent) / 'config.json'
    try:
        config = json.loads(file.read_text())
        labels = {int(label): str(name) for label, name in config['id2label'].items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return CheckpointClasses()
    if sorted(labels) != list(range(len(labels))) or all(
            name == f'LABEL_{label}' for label, name in labels.items()):
        return CheckpointClasses()  # placeholder names of transformers
    names = tuple(labels[label] for label in range(len(labels)))
    own = config.get(EXPORT_ENTRY)
    # the names differ if the exported model was trained further with other classes
    return CheckpointClasses(names, isinstance(own, dict) and own.get('classes') == list(names))


def class_names_of_meta(meta: Any) -> tuple[str, ...]:
    """Read the class names from ``meta`` of a checkpoint of mmengine, of any version.

    Args:
        meta: value of the key ``meta``.

    Returns:
        () if it contains no names.
    """
    if not isinstance(meta, dict):
        return ()
    described = meta.get('dataset_meta')
    described = described if isinstance(described, dict) else {}
    names = next((value for entries in (described, meta) for key, value in entries.items()
                  if str(key).lower() == 'classes'), None)
    if isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names):
        return tuple(names)
    return ()
