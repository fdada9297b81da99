"""Reading and checking of COCO's annotation files.

Checks process one key of all entries at a time, which is fast compared with reading the file.
"""
import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import NamedTuple

from mmengine import fileio


class Kind(NamedTuple):
    """Types that the values of a key may have.

    Args:
        types: the types.
        text: their description in error texts.
    """
    types: frozenset
    text: str


INTEGER = Kind(frozenset({int}), 'an integer')
# the scripts of Cityscapes and Mapillary Vistas use file names as ids of images
IMAGE_ID = Kind(frozenset({int, str}), 'an integer or a text')
TEXT = Kind(frozenset({str}), 'a text')
LIST = Kind(frozenset({list}), 'a list')
FLAG = Kind(frozenset({int, bool}), '0 or 1')
# JSON has integers of any size, arrays of ids have 64 bits
LARGEST, LARGEST_SIDE = 2 ** 63 - 1, 2 ** 31 - 1

_HINTS = {
    'segments_info': '. Where the annotations have a "segmentation" it is a COCO instance JSON: '
                     'read it with mmpanseg.InstanceDataset',
    'category_id': '. Where the annotations have "segments_info" it is a COCO panoptic JSON: read '
                   'it with mmpanseg.PanopticDataset',
    'isthing': ' (1 for things, 0 for stuff), or name thing_classes and stuff_classes in the '
               'metainfo of the data set'}


def read_annotation_file(path: str, keys: Iterable[str], kind: str,
                         backend_args: dict | None = None) -> dict:
    """Read a JSON with lists of dicts under some keys.

    Args:
        path: path of the file.
        keys: keys that the file must contain.
        kind: expected kind of file in error texts: 'panoptic', 'instance'.
        backend_args: arguments of mmengine's file backend; None for the file system.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is no JSON or lacks a key; the text names file and key.
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
    """Return the values of a key that every entry must contain.

    Args:
        path: path of the file, for error texts.
        where: kind of the entries, for error texts: 'image', 'annotation', ...
        entries: the entries.
        key: the key.
        kind: types that the values may have.

    Raises:
        ValueError: an entry lacks the key, or its value has another type; the text names file,
            entry and key.
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
    """Raise a ValueError unless the values of a key, one per entry, have the types of a kind."""
    bad = None
    if not set(map(type, values)) <= kind.types:
        bad = next(i for i, value in enumerate(values) if type(value) not in kind.types)
    elif kind is FLAG and not set(values) <= {0, 1}:
        bad = next(i for i, value in enumerate(values) if value not in (0, 1))
    if bad is not None:
        raise ValueError(f'{path}: {name_of(where, entries[bad])} has "{key}" {values[bad]!r}; it '
                         f'must be {kind.text}')
    if int in kind.types:
        numbers = [value for value in values if type(value) is not str]
        if numbers and (max(numbers) > LARGEST or min(numbers) < -LARGEST):
            bad = next(i for i, value in enumerate(values)
                       if type(value) is int and abs(value) > LARGEST)
            raise ValueError(f'{path}: {name_of(where, entries[bad])} has "{key}" '
                             f'{values[bad]!r}, which is larger than 64 bits')


def name_of(where: str, entry: dict) -> str:
    """Return the description of an entry in error texts: the keys that identify it."""
    known = [f'{key} {entry[key]!r}' for key in ('id', 'name', 'file_name', 'image_id')
             if isinstance(entry, dict) and key in entry]
    return f'{where} with {", ".join(known)}' if known else f'{where} {entry!r}'[:120]


def read_images(path: str, images: Sequence[dict]) -> dict:
    """Return images by id, each with id, file_name, height and width.

    Raises:
        ValueError: an image lacks a key, a value has another type, or two images share an id.
    """
    _check_file_names(path, 'image', images)
    return read_sizes(path, images)


def read_sizes(path: str, images: Sequence[dict]) -> dict:
    """Return images by id, each with id, height, width. Errors as :func:`read_images`."""
    by_id = by_image_id(path, 'image', images, 'id')
    for key in ('height', 'width'):
        values = column(path, 'image', images, key, INTEGER)
        if min(values, default=1) < 1 or max(values, default=1) > LARGEST_SIDE:
            entry = next(image for image in images if not 1 <= image[key] <= LARGEST_SIDE)
            raise ValueError(f'{path}: {name_of("image", entry)} has "{key}" {entry[key]}; write '
                             'the size of the image in pixels')
    return by_id


def by_image_id(path: str, where: str, entries: Sequence[dict], key: str) -> dict:
    """Return entries by the id of their image, the value of ``key``.

    Raises:
        ValueError: an entry has no id, or two entries share one; the text names their files.
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
    """Return panoptic annotations by the id of their image.

    Each annotation has image_id, file_name and segments_info; each segment has id, category_id and
    optionally iscrowd (0 or 1).

    Raises:
        ValueError: a key is absent, a value has another type, or an image has two annotations. The
            text names file, entry and key.
    """
    column(path, 'annotation', annotations, 'segments_info', LIST)
    _check_file_names(path, 'annotation', annotations)
    _check_segments(path, annotations)
    return by_image_id(path, 'annotation', annotations, 'image_id')


def read_categories(path: str, categories: Sequence[dict]) -> dict[int, str]:
    """Return the name of each category id.

    Raises:
        ValueError: a category lacks id or name, its id is no integer, or an id or name is repeated.
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
    """Return the ``image_id`` or ``category_id`` of annotations, checked against another list.

    Args:
        path: path of the file, for error texts.
        annotations: the annotations.
        key: 'image_id' or 'category_id'.
        known: ids that the other list contains.
        where: name of the other list, for error texts.

    Raises:
        ValueError: an id is absent, has another type or is not listed.
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


def _check_file_names(path: str, where: str, entries: Sequence[dict]) -> None:
    names = column(path, where, entries, 'file_name', TEXT)
    for entry, name in zip(entries, names):
        if not name.strip('./\\ ') or '\0' in name:
            raise ValueError(f'{path}: {name_of(where, entry)} has "file_name" {name!r}, which is '
                             'no name of a file')


def _check_segments(path: str, annotations: Sequence[dict]) -> None:
    segments = list(chain.from_iterable(a['segments_info'] for a in annotations))
    try:
        fine = (set(map(type, segments)) <= {dict}
                and {type(s['id']) for s in segments} <= INTEGER.types
                and {type(s['category_id']) for s in segments} <= INTEGER.types
                and {s.get('iscrowd', 0) for s in segments} <= {0, 1}
                and all(-LARGEST <= s['id'] <= LARGEST >= abs(s['category_id']) for s in segments))
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
    """Raise a ValueError unless the classes are distinct names of categories of the file.

    The text lists categories with similar names, or all of them if none is similar.
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
