"""Class names that a checkpoint carries."""
import json
from pathlib import Path
from typing import Any, NamedTuple

# entry of a transformers folder's config.json that this library's export adds
EXPORT_ENTRY = 'mmpanseg'

# what checkpoints carry of a dataset's metainfo
METAINFO_KEYS = ('classes', 'thing_classes', 'stuff_classes', 'palette')


class CheckpointClasses(NamedTuple):
    """What a checkpoint says about its classes.

    Args:
        names: by label; empty if it does not say.
        own_order: this library wrote it, and its labels are those of its config.
    """
    names: tuple[str, ...] = ()
    own_order: bool = False


def read_class_names(content: dict[str, Any], path: str | Path) -> CheckpointClasses:
    """Class names of a checkpoint.

    Args:
        content: of the file, as :func:`mmpanseg.checkpoints.weight_files.read_checkpoint` gives it.
        path: of the file, or the folder of transformers; ``config.json`` there tells the names.
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
        return CheckpointClasses()  # stand-ins of transformers
    names = tuple(labels[label] for label in range(len(labels)))
    own = config.get(EXPORT_ENTRY)
    # whoever trained on with other classes has other names
    return CheckpointClasses(names, isinstance(own, dict) and own.get('classes') == list(names))


def class_names_of_meta(meta: Any) -> tuple[str, ...]:
    """Class names in the ``meta`` of mmengine's checkpoints, of any version; () without."""
    if not isinstance(meta, dict):
        return ()
    described = meta.get('dataset_meta')
    described = described if isinstance(described, dict) else {}
    names = next((value for entries in (described, meta) for key, value in entries.items()
                  if str(key).lower() == 'classes'), None)
    if isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names):
        return tuple(names)
    return ()
