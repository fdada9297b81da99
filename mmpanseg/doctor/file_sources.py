"""Sources from files alone: JSONs or folders, without a config."""
import json
import os.path as osp
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mmpanseg.doctor.source import Source, TargetError

# bytes of a JSON in which names of files are looked for
_HEAD = 1 << 22
_PREFIXES = ('panoptic', 'instances', 'instance', 'annotations')
_ROLES = (('train', 'train'), ('val', 'val'), ('test', 'test'))


def sources_of_files(targets: Sequence[str], images: Sequence[str] = (),
                     maps: Sequence[str] = (), kind: str | None = None,
                     classes: Sequence[str] = ()) -> list[Source]:
    """Make sources of files.

    Args:
        targets: COCO JSONs, folders of label maps, or one folder with JSONs (``panoptic_*.json``,
            ``instances_*.json``, also in ``annotations``) or with ``images`` and ``labels``.
        images: folder of images of each target, or one for all; () to look beside the target.
        maps: folder of PNGs of each panoptic JSON, or one for all; () to look beside it.
        kind: 'panoptic', 'instance', 'semantic'; None: by content.
        classes: names by label; () for those of the JSON.

    Returns:
        the sources, in the order of the targets.

    Raises:
        TargetError: a target does not exist, or its kind or folders cannot be told.
    """
    if len(targets) == 1 and osp.isdir(targets[0]):
        targets = _inside(targets[0], kind, images) or targets
    for option, folders in (('--images', images), ('--maps', maps)):
        if len(folders) not in (0, 1, len(targets)):
            raise TargetError(f'{option} is given {len(folders)} times for {len(targets)} '
                              'annotations: give it once, or once for each')
    found, seen = [], Counter[str]()
    for number, target in enumerate(targets):
        role = _role(target, number)
        seen[role] += 1
        split = role if seen[role] == 1 else f'{role} {seen[role]}'
        image_folder, map_folder = (
            None if not folders else folders[number % len(folders)] for folders in (images, maps))
        found.append(_source(target, split, image_folder, map_folder, kind, tuple(classes)))
    return found


def _inside(folder: str, kind: str | None, images: Sequence[str]) -> list[str]:
    """Find JSONs in a folder, or its folders of label maps."""
    for name in ('panoptic', 'instance'):
        if kind in (None, name):
            found = [path for below in ('', 'annotations')
                     for path in sorted(Path(folder, below).glob(f'{name}*.json'))]
            if found:
                order = {role: place for place, (role, _) in enumerate(_ROLES)}
                return [str(path) for path in sorted(
                    found, key=lambda path: order.get(_role(str(path), 0), len(order)))]
    labels = Path(folder, 'labels')
    if kind in (None, 'semantic') and not images and labels.is_dir():
        below = [labels / role for role, _ in _ROLES if (labels / role).is_dir()]
        return [str(path) for path in below or [labels]]
    return []


def _role(target: str, number: int) -> str:
    name = Path(target).name.lower()
    known = next((role for word, role in _ROLES if word in name), None)
    return known or ('train', 'val', 'test')[min(number, 2)]


def _source(target: str, split: str, images: str | None, maps: str | None, kind: str | None,
            classes: tuple[str, ...]) -> Source:
    path = Path(target)
    if not path.exists():
        raise TargetError(f'{target} does not exist')
    if path.is_dir():
        if kind not in (None, 'semantic'):
            raise TargetError(f'{target} is a folder: {kind} data need a JSON')
        return Source(split, 'semantic', img_prefix=images or _beside_labels(path),
                      seg_prefix=maps or target, classes=classes or _classes_beside(path))
    head = _head(path)
    kind = kind or _kind(path, head)
    if kind == 'semantic':
        raise TargetError(f'{target} is a file: semantic data are folders, give that of the label '
                          'maps')
    names = re.findall(r'"file_name"\s*:\s*"((?:[^"\\]|\\.)*)"', head)[:200]
    source = Source(split, kind, ann_file=target, classes=classes, test_mode=split != 'train',
                    img_prefix=images or _folder(path, names, 'images', kind))
    if kind == 'instance':
        return source
    return Source(**{**vars(source), 'seg_prefix': maps or _folder(path, names, 'maps', kind)})


def _head(path: Path) -> str:
    try:
        with open(path, 'rb') as file:
            return file.read(_HEAD).decode('utf-8', errors='replace')
    except OSError as error:
        raise TargetError(f'{path} cannot be read: {error.strerror}') from error


def _kind(path: Path, head: str) -> str:
    if '"segments_info"' in head:
        return 'panoptic'
    if '"segmentation"' in head:
        return 'instance'
    # large lists of images come first in some files
    overlap = len('"segments_info"')
    with open(path, 'rb') as file:
        rest = b''
        while block := file.read(_HEAD):
            text = rest + block
            for key, kind in ((b'"segments_info"', 'panoptic'), (b'"segmentation"', 'instance')):
                if key in text:
                    return kind
            rest = text[-overlap:]
    return 'instance' if path.name.startswith('instance') else 'panoptic'


def _folder(path: Path, names: Sequence[str], what: str, kind: str) -> str:
    """Find the folder of images or PNGs of a JSON beside it."""
    stem = path.stem
    token = next((stem[len(prefix):].strip('_-.') for prefix in _PREFIXES
                  if stem.startswith(prefix)), stem)
    parents = (path.parent, path.parent.parent)
    if what == 'maps':
        places = [stem, f'maps/{token}', f'panoptic/{token}', 'maps', 'panoptic', 'annotations']
    else:
        places = [token, f'images/{token}', 'images', 'input_images', 'JPEGImages', stem, '.']
    folders = [parent / place for place in places if place for parent in parents]
    existing = [folder for folder in folders if folder.is_dir()]
    suffixes = ('.png', '.PNG')
    listed = [name for name in names if (what == 'images') or name.endswith(suffixes)]
    for folder in existing:
        if any((folder / name.replace('\\\\', '/')).is_file() for name in listed):
            return str(folder)
    if existing and existing[0].name not in ('', '.', path.parent.name):
        return str(existing[0])
    raise TargetError(f'{path}: no folder beside it has its {what}: give --{what} DIR')


def _beside_labels(folder: Path) -> str:
    """Find the images of a folder of label maps: ``labels/train`` and ``images/train``."""
    for name in ('labels', 'annotations', 'masks', 'maps'):
        parts = list(folder.parts)
        if name in parts:
            parts[parts.index(name)] = 'images'
            if Path(*parts).is_dir():
                return str(Path(*parts))
    raise TargetError(f'{folder}: the folder of its images is unknown: give --images DIR')


def _classes_beside(folder: Path) -> tuple[str, ...]:
    """Read the names in a ``classes.json`` in one of the folders above label maps."""
    for parent in (folder, *list(folder.resolve().parents)[:2]):
        path = parent / 'classes.json'
        if path.is_file():
            return read_class_names(path)
    raise TargetError(f'{folder}: the names of the classes are unknown: give --classes NAME,...')


def read_class_names(path: Path) -> tuple[str, ...]:
    """Read names of classes, by label.

    Args:
        path: JSON: a list of names or of dicts with ``name``, or a dict with such a list under
            ``classes``.

    Raises:
        TargetError: the file has another content.
    """
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
        names = content['classes'] if isinstance(content, dict) else content
        found = tuple(name['name'] if isinstance(name, dict) else name for name in names)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TargetError(f'{path} has no list of names of classes: {error}') from error
    if not found or not all(isinstance(name, str) for name in found):
        raise TargetError(f'{path} has no list of names of classes')
    return found
