"""Checks of "images" in a JSON, and of names of files."""
import os.path as osp
import unicodedata
from collections import Counter
from typing import Any, NamedTuple

from mmpanseg.datasets.annotation_file import IMAGE_ID, INTEGER, LARGEST_SIDE, TEXT, name_of
from mmpanseg.datasets.base import with_slashes
from mmpanseg.doctor.lists.findings import Findings
from mmpanseg.doctor.lists.json_file import plain_id


class ListedImage(NamedTuple):
    """An entry of "images", as far as it is usable.

    Attributes:
        image_id: its id, or its file name where the id is unusable.
        file_name: as in the JSON.
        height: None if it is unusable.
        width: None if it is unusable.
        joined: its id is its own, so that annotations can refer to it.
    """

    image_id: int | str
    file_name: str
    height: int | None
    width: int | None
    joined: bool


def read_images(content: dict, found: Findings
                ) -> tuple[list[ListedImage], frozenset[int | str]]:
    """Check "images".

    Args:
        content: content of the JSON.
        found: receives the problems.

    Returns:
        the images that have a file name, and the ids of all images.
    """
    if 'images' not in content:
        found.add('PAN005', 'the file has no "images"', file=found.source.ann_file)
        return [], frozenset()
    images: list[ListedImage] = []
    by_id: dict[int | str, Any] = {}
    by_file: dict[str, ListedImage] = {}
    for entry in content['images']:
        name = entry.get('file_name')
        place = dict(file=name if isinstance(name, str) else None,
                     image_id=plain_id(entry.get('id')))
        image_id = found.value('image', entry, 'id', IMAGE_ID, **place)
        unique = image_id is not None and image_id not in by_id
        if image_id is not None and not unique:
            found.add('PAN009', f'image {image_id!r} is listed twice, as '
                      f'{by_id[image_id]!r} and {name!r}', **place)
        elif image_id is not None:
            by_id[image_id] = name
        height, width = (_side(entry, key, found, place) for key in ('height', 'width'))
        name = found.value('image', entry, 'file_name', TEXT, **place)
        if name is None or not check_file_name('image', name, found, place):
            continue
        image = ListedImage(name if image_id is None else image_id, name, height, width, unique)
        other = by_file.setdefault(osp.normpath(with_slashes(name)), image)
        if other is not image:
            found.add('PAN011', f'images {other.image_id!r} and {image.image_id!r} list the same '
                      'file', **place)
        images.append(image)
    found.close_list('image', len(content['images']))
    _check_equal_but_capitals(list(by_file), found)
    return images, frozenset(by_id)


def _side(entry: dict, key: str, found: Findings, place: dict[str, Any]) -> int | None:
    value = found.value('image', entry, key, INTEGER, **place)
    if value is not None and not 1 <= value <= LARGEST_SIDE:
        found.add('PAN008', f'{name_of("image", entry)} has "{key}" {value}; write the size of '
                  'the image in pixels', **place)
        return None
    return value


def check_file_name(where: str, name: str, found: Findings, place: dict[str, Any]) -> bool:
    """Check a name of a file, without looking for the file.

    Args:
        where: kind of the entry: 'image', 'annotation'.
        name: the name.
        found: receives the problems.
        place: file, image_id of the problems.

    Returns:
        whether a file can have this name.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        found.add('PAN037', f'{where} has a file name that is no text of UTF-8: {name!r}', **dict(
            place, file=ascii(name)[1:-1]))
        return False
    if not name.strip('./\\ ') or '\0' in name:
        found.add('PAN038', f'{where} has "file_name" {name!r}', **place)
        return False
    if '\\' in name:
        found.add('PAN027', f'{where} has "file_name" {name!r} with backslashes', **place)
    slashes = with_slashes(name)
    if osp.isabs(slashes) or slashes[1:2] == ':' or '..' in slashes.split('/'):
        found.add('PAN030', f'{where} has "file_name" {name!r}', **place)
    ending = osp.splitext(name)[1]
    if ending != ending.lower():
        found.add('PAN029', f'{name} ends in {ending}', **place)
    odd = sorted({letter for letter in name if not letter.isprintable() or letter == '\ufffd'})
    if odd:
        found.add('PAN037', f'{name!r} contains {", ".join(map(ascii, odd))}', **place)
    elif unicodedata.normalize('NFC', name) != name:
        found.add('PAN037', f'{name!r} has letters of two characters (accents apart), which some '
                  'systems store as one', **place)
    elif name != name.strip():
        found.add('PAN037', f'{name!r} begins or ends with a space', **place)
    return True


def _check_equal_but_capitals(names: list[str], found: Findings) -> None:
    counts = Counter(name.casefold() for name in names)
    alike: dict[str, list[str]] = {}
    for name in names:
        if counts[name.casefold()] > 1:
            alike.setdefault(name.casefold(), []).append(name)
    for group in alike.values():
        found.add('PAN037', f'{" and ".join(map(repr, group))} are one file where capitals do not '
                  'matter (Windows, macOS)', file=group[0])
