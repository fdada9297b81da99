"""COCO's annotation files: what they must have, and what is said where they have not.

Entries are checked a column at a time, which costs little beside reading the file.
"""
import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import NamedTuple

from mmengine import fileio


class Kind(NamedTuple):
    """What the values of a key may be."""
    types: frozenset
    text: str


INTEGER = Kind(frozenset({int}), 'an integer')
# Cityscapes' and Mapillary Vistas' own scripts number images by their names
IMAGE_ID = Kind(frozenset({int, str}), 'an integer or a text')
TEXT = Kind(frozenset({str}), 'a text')
LIST = Kind(frozenset({list}), 'a list')
FLAG = Kind(frozenset({int, bool}), '0 or 1')

_HINTS = {
    'segments_info': '. Where the annotations have a "segmentation" it is a COCO instance JSON: '
                     'read it with mmpanseg.InstanceDataset',
    'category_id': '. Where the annotations have "segments_info" it is a COCO panoptic JSON: read '
                   'it with mmpanseg.PanopticDataset',
    'isthing': ' (1 for things, 0 for stuff), or name thing_classes and stuff_classes in the '
               'metainfo of the data set'}


def read_annotation_file(path: str, keys: Iterable[str], kind: str,
                         backend_args: dict | None = None) -> dict:
    """Content of a JSON that has lists of dicts under some keys.

    Args:
        path: of the file.
        keys: those that it must have.
        kind: what it should be, for error messages: 'panoptic', 'instance'.
        backend_args: arguments of mmengine's file backend.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it is no JSON or lacks a key; the text names file and key.
    """
    try:
        content = fileio.load(path, file_format='json', backend_args=backend_args)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'annotation file {path} does not exist; correct its path') from error
    except ValueError as error:
        raise ValueError(f'{path} is not valid JSON: {error}') from error
    for key in keys:
        if not isinstance(content, dict) or key not in content:
            raise ValueError(f'{path} has no "{key}": not a COCO {kind} JSON')
    for key in ('images', 'annotations', 'categories') if isinstance(content, dict) else ():
        entries = content.get(key, [])
        if not isinstance(entries, list) or not set(map(type, entries)) <= {dict}:
            raise ValueError(f'{path}: "{key}" must be a list of dicts, as in a COCO {kind} JSON')
    return content


def column(path: str, where: str, entries: Sequence[dict], key: str, kind: Kind) -> list:
    """Values of a key that every entry must have.

    Args:
        path: of the file, for error messages.
        where: what an entry is, for error messages: 'image', 'annotation', ...
        entries: dicts.
        key: the key.
        kind: types that the values may have.

    Raises:
        ValueError: when an entry lacks the key or its value is of another kind; the text names
            file, entry and key.
    """
    try:
        values = [entry[key] for entry in entries]
    except KeyError:
        entry = next(entry for entry in entries if key not in entry)
        raise ValueError(f'{path}: {name_of(where, entry)} has no "{key}"; add it, {kind.text}'
                         f'{_HINTS.get(key, "")}') from None
    check_kind(path, where, entries, key, kind, values)
    return values


def check_kind(path: str, where: str, entries: Sequence[dict], key: str, kind: Kind,
               values: Sequence) -> None:
    """Raise a ValueError unless the values of a key, one for each entry, are of a kind."""
    bad = None
    if not set(map(type, values)) <= kind.types:
        bad = next(i for i, value in enumerate(values) if type(value) not in kind.types)
    elif kind is FLAG and not set(values) <= {0, 1}:
        bad = next(i for i, value in enumerate(values) if value not in (0, 1))
    if bad is not None:
        raise ValueError(f'{path}: {name_of(where, entries[bad])} has "{key}" {values[bad]!r}; it '
                         f'must be {kind.text}')


def name_of(where: str, entry: dict) -> str:
    """What error messages call an entry: by the keys that tell it from the others."""
    known = [f'{key} {entry[key]!r}' for key in ('id', 'name', 'file_name', 'image_id')
             if isinstance(entry, dict) and key in entry]
    return f'{where} with {", ".join(known)}' if known else f'{where} {entry!r}'[:120]


def read_images(path: str, images: Sequence[dict]) -> dict:
    """Images by their id; every one has id, file_name, height and width.

    Raises:
        ValueError: when one lacks a key or has it with another type, or two have one id.
    """
    column(path, 'image', images, 'file_name', TEXT)
    return read_sizes(path, images)


def read_sizes(path: str, images: Sequence[dict]) -> dict:
    """Images by their id; every one has id, height and width. Errors as :func:`read_images`."""
    by_id = by_image_id(path, 'image', images, 'id')
    for key in ('height', 'width'):
        values = column(path, 'image', images, key, INTEGER)
        if min(values, default=1) < 1:
            entry = next(image for image in images if image[key] < 1)
            raise ValueError(f'{path}: {name_of("image", entry)} has "{key}" {entry[key]}; write '
                             'the size of the image in pixels')
    return by_id


def by_image_id(path: str, where: str, entries: Sequence[dict], key: str) -> dict:
    """Entries by the id of their image, which ``key`` holds; one for each image.

    Raises:
        ValueError: when an entry has no id, or two have the same; the text names their files.
    """
    ids = column(path, where, entries, key, IMAGE_ID)
    by_id = dict(zip(ids, entries))
    if len(by_id) < len(entries):
        twice = _first_twice(ids)
        one, other = [entry.get('file_name') for entry in entries if entry[key] == twice][:2]
        what = 'is listed twice, as' if where == 'image' else f'has two {where}s,'
        raise ValueError(f'{path}: image {twice} {what} {one!r} and {other!r}; give every image an '
                         'id of its own')
    return by_id


def read_panoptic_annotations(path: str, annotations: Sequence[dict]) -> dict:
    """Panoptic annotations by the id of their image.

    Every one has image_id, file_name and segments_info; segments have id and category_id, and 0 or
    1 in iscrowd where they have it.

    Raises:
        ValueError: when a key is absent or its value of another type, or an image has two
            annotations. The text names file, entry and key.
    """
    column(path, 'annotation', annotations, 'segments_info', LIST)
    column(path, 'annotation', annotations, 'file_name', TEXT)
    _check_segments(path, annotations)
    return by_image_id(path, 'annotation', annotations, 'image_id')


def read_categories(path: str, categories: Sequence[dict]) -> dict[int, str]:
    """Category id -> name; every id and every name once.

    Raises:
        ValueError: when one lacks id or name, its id is no integer, or two have the same.
    """
    ids = column(path, 'category', categories, 'id', INTEGER)
    names = column(path, 'category', categories, 'name', TEXT)
    if len(set(names)) < len(names):
        raise ValueError(f'{path}: category {_first_twice(names)!r} appears twice; every category '
                         'needs a name of its own')
    if len(set(ids)) < len(ids):
        twice = _first_twice(ids)
        one, other = [name for i, name in zip(ids, names) if i == twice][:2]
        raise ValueError(f'{path}: categories {one!r} and {other!r} have the same id {twice}; give '
                         'every category an id of its own')
    return dict(zip(ids, names))


def check_listed(path: str, annotations: Sequence[dict], key: str, known: Iterable,
                 where: str) -> list:
    """Values of ``image_id`` or ``category_id`` of annotations, which another list must have.

    Raises:
        ValueError: when one is absent, of another type, or not listed.
    """
    kind = IMAGE_ID if key == 'image_id' else INTEGER
    values = column(path, 'annotation', annotations, key, kind)
    unknown = set(values).difference(known)
    if unknown:
        entry = next(annotation for annotation in annotations if annotation[key] in unknown)
        name = entry.get('id', entry.get('file_name'))
        raise ValueError(f'{path}: annotation {name!r} has {key} {entry[key]!r}, which "{where}" '
                         'does not list')
    return values


def _check_segments(path: str, annotations: Sequence[dict]) -> None:
    segments = list(chain.from_iterable(a['segments_info'] for a in annotations))
    try:
        fine = (set(map(type, segments)) <= {dict}
                and {type(s['id']) for s in segments} <= INTEGER.types
                and {type(s['category_id']) for s in segments} <= INTEGER.types
                and {s.get('iscrowd', 0) for s in segments} <= {0, 1})
    except (KeyError, TypeError):
        fine = False
    if fine:
        return
    for annotation in annotations:
        where = f'in annotation {annotation["file_name"]!r}, segment'
        infos = annotation['segments_info']
        for info in infos:
            if not isinstance(info, dict):
                raise ValueError(f'{path}: {where} {info!r} must be a dict with id and category_id')
        for key in ('id', 'category_id'):
            column(path, where, infos, key, INTEGER)
        check_kind(path, where, infos, 'iscrowd', FLAG, [info.get('iscrowd', 0) for info in infos])


def check_classes(path: str, classes: Sequence[str], names: Iterable[str]) -> None:
    """Raise a ValueError unless every class is, once, the name of a category of the file.

    The text lists categories with similar names, or all of them where none is similar.
    """
    twice = [name for name, count in Counter(classes).items() if count > 1]
    if twice:
        raise ValueError(f'{path}: class of metainfo {twice[0]!r} appears twice')
    names = set(names)
    absent = [name for name in classes if name not in names]
    if not absent:
        return
    if len(absent) == len(classes):
        raise ValueError(f'{path} has no category {absent[0]!r}, and none of the {len(classes)} '
                         'classes that metainfo names; set metainfo of the data set to classes '
                         f'among {sorted(names)}')
    others = sorted(names.difference(classes))
    near = difflib.get_close_matches(absent[0].lower(), [name.lower() for name in others])
    near = [name for name in others if name.lower() in near]
    raise ValueError(f'{path} has no category {absent[0]!r}, which metainfo names; ' + (
        f'did you mean {" or ".join(map(repr, near))}?' if near else f'it has {sorted(names)}'))


def _first_twice(values: Sequence) -> object:
    return next(value for value, count in Counter(values).items() if count > 1)
