"""Repairs of a JSON that need no content of images and maps."""
import os
import os.path as osp
from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from typing import Any

from mmpanseg.datasets.base import with_slashes
from mmpanseg.doctor.source import Source

Repaired = Counter[str]


class Folder:
    """Names of files in a folder, compared without regard to capitals.

    Args:
        path: the folder; '' for names that are paths themselves.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._names: dict[str, dict[str, list[str]]] = {}

    def existing(self, name: str) -> str | None:
        """Return the one name of a file that differs in capitals at most; None for no or several.

        Args:
            name: path below the folder, with slashes.
        """
        if osp.isfile(osp.join(self.path, name)):
            return name
        found = ''
        for part in name.split('/'):
            names = self._listed(osp.join(self.path, found)).get(part.lower(), [])
            if len(names) != 1:
                return None
            found = osp.join(found, names[0])
        return found if osp.isfile(osp.join(self.path, found)) else None

    def _listed(self, folder: str) -> dict[str, list[str]]:
        if folder not in self._names:
            names = self._names[folder] = defaultdict(list)
            try:
                for name in os.listdir(folder or '.'):
                    names[name.lower()].append(name)
            except OSError:
                pass
        return self._names[folder]


def fix_lists(content: dict, source: Source, things: Collection[str] | None) -> Repaired:
    """Repair ids, names and keys of a JSON in place.

    Args:
        content: content of a panoptic or an instance JSON, with lists of dicts.
        source: its source.
        things: names of the categories that are things; None to leave ``isthing`` missing.

    Returns:
        number of repairs by id of the check.
    """
    repaired: Repaired = Counter()
    if source.kind == 'panoptic':
        _add_isthing(content, things, repaired)
    _remove_copies(content, 'categories', 'id', ('PAN012', 'PAN013'), repaired)
    _remove_copies(content, 'images', 'id', ('PAN009', 'PAN011'), repaired)
    if source.kind == 'panoptic':
        _remove_copies(content, 'annotations', 'image_id', ('PAN010', ), repaired)
    _fix_names(content['images'], Folder(source.img_prefix), repaired)
    if source.kind == 'panoptic':
        _fix_names(content['annotations'], Folder(source.seg_prefix), repaired)
    _renumber_categories(content, source.kind, repaired)
    _renumber_images(content, source.kind, repaired)
    if source.kind == 'instance':
        _renumber_annotations(content, repaired)
    return repaired


def _add_isthing(content: dict, things: Collection[str] | None, repaired: Repaired) -> None:
    if things is None:
        return
    for category in content['categories']:
        if 'isthing' not in category and isinstance(category.get('name'), str):
            category['isthing'] = int(category['name'] in things)
            repaired['PAN014'] += 1


def _remove_copies(content: dict, key: str, name: str, checks: tuple[str, ...],
                   repaired: Repaired) -> None:
    """Keep the first one of equal entries."""
    kept: dict[Any, list[dict]] = defaultdict(list)
    entries = []
    for entry in content[key]:
        same = kept[_hashable(entry.get(name))]
        if entry in same:
            repaired.update(checks)
        else:
            same.append(entry)
            entries.append(entry)
    content[key] = entries


def _fix_names(entries: list[dict], folder: Folder, repaired: Repaired) -> None:
    for entry in entries:
        name = entry.get('file_name')
        if not isinstance(name, str) or '\0' in name:
            continue
        # a name with a backslash may be that of a file, but not where it is read
        found = folder.existing(with_slashes(name))
        if found is None or found == name:
            continue
        if '\\' in name:
            repaired['PAN027'] += 1
        if found != with_slashes(name):
            repaired['PAN028'] += 1
        entry['file_name'] = found


def _renumber_categories(content: dict, kind: str, repaired: Repaired) -> None:
    """Give a new id to categories of an id that no segment uses."""
    used = {_hashable(segment.get('category_id')) for segment in _segments(content, kind)}
    _renumber(content['categories'], 'PAN012', repaired,
              lambda number, same: same[1:] if number not in used else [])


def _renumber_images(content: dict, kind: str, repaired: Repaired) -> None:
    """Give a new id to images whose annotations the names of files identify, or that have none."""
    annotations = defaultdict(list)
    for annotation in content['annotations']:
        annotations[_hashable(annotation.get('image_id'))].append(annotation)
    moved: dict[int, list[dict]] = {}

    def choose(number: Any, same: list[dict]) -> list[dict]:
        own = annotations[number]
        if not own:
            return same[1:]
        stems = [_stem(image) for image in same]
        if kind != 'panoptic' or len(set(stems)) < len(stems) or not {
                _stem(annotation) for annotation in own} <= set(stems):
            return []
        for image, stem in zip(same, stems):
            moved[id(image)] = [a for a in own if _stem(a) == stem]
        # an image with an annotation keeps its id
        keeper = next(image for image in same if moved[id(image)])
        return [image for image in same if image is not keeper]

    for image in _renumber(content['images'], 'PAN009', repaired, choose):
        for annotation in moved.get(id(image), []):
            annotation['image_id'] = image['id']


def _renumber_annotations(content: dict, repaired: Repaired) -> None:
    """Give a new id to all annotations of an id but the first; nothing refers to them."""
    _renumber(content['annotations'], 'PAN036', repaired, lambda number, same: same[1:])


def _renumber(entries: list[dict], check: str, repaired: Repaired,
              choose: Callable[[Any, list[dict]], list[dict]]) -> list[dict]:
    """Give new ids to some entries of equal ids.

    Args:
        entries: the entries.
        check: id of the check.
        repaired: counts the changes.
        choose: of an id and its entries, returns those to change.

    Returns:
        the changed entries.
    """
    by_id: dict[Any, list[dict]] = defaultdict(list)
    for entry in entries:
        if type(entry.get('id')) in (int, str):
            by_id[entry['id']].append(entry)
    free = max((number for number in by_id if isinstance(number, int)), default=0) + 1
    changed = []
    for number, same in list(by_id.items()):
        for entry in choose(number, same) if len(same) > 1 else ():
            entry['id'] = max(free, 1)
            free = entry['id'] + 1
            changed.append(entry)
            repaired[check] += 1
    return changed


def _segments(content: dict, kind: str) -> list[dict]:
    if kind == 'instance':
        return content['annotations']
    return [segment for annotation in content['annotations']
            for segment in annotation.get('segments_info') or () if isinstance(segment, dict)]


def _stem(entry: dict) -> str:
    name = entry.get('file_name')
    return osp.splitext(with_slashes(name))[0].lower() if isinstance(name, str) else ''


def _hashable(value: Any) -> Any:
    return value if isinstance(value, (int, str)) else repr(value)
