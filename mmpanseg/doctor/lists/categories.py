"""Checks of "categories" in a JSON, against the classes of the config."""
import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mmpanseg.datasets.annotation_file import FLAG, INTEGER, TEXT, name_of
from mmpanseg.doctor.lists.findings import Findings

_LISTED = 8


class Categories(NamedTuple):
    """Categories of a source.

    Attributes:
        names: name by id, of all categories of the JSON.
        selected: ids whose name the config selects; all without names in the config.
        things: ids that are things.
        classes: names by label.
    """

    names: dict[int, str]
    selected: frozenset[int]
    things: frozenset[int]
    classes: tuple[str, ...]


def read_categories(content: dict, found: Findings) -> Categories:
    """Check "categories".

    Args:
        content: content of the JSON.
        found: receives the problems.
    """
    source, path = found.source, found.source.ann_file
    if 'categories' not in content:
        found.add('PAN005', 'the file has no "categories"', file=path)
    names: dict[int, str] = {}
    is_thing: dict[str, bool] = {}
    seen: dict[str, int] = {}
    for entry in content.get('categories', ()):
        category = found.value('category', entry, 'id', INTEGER, file=path)
        name = found.value('category', entry, 'name', TEXT, file=path)
        thing = _isthing(entry, found)
        if name is not None:
            if name in seen:
                found.add('PAN013', f'category {name!r} appears twice, with the ids {seen[name]} '
                          f'and {category}', file=path)
            elif not name.strip():
                found.add('PAN046', f'{name_of("category", entry)} has an empty name', file=path)
            seen.setdefault(name, category)
            if thing is not None:
                is_thing.setdefault(name, thing)
        if category in names:
            found.add('PAN012', f'categories {names[category]!r} and {name!r} have the same id '
                      f'{category}', file=path)
        elif category is not None:
            names[category] = str(category) if name is None else name
    found.close_list('category', len(content.get('categories', ())))
    _check_alike(seen, found)
    _check_config(found)
    # things first, as the data set orders them
    classes = source.classes or tuple(sorted(
        seen, key=lambda name: source.kind == 'panoptic' and not is_thing.get(name, True)))
    if source.classes and (content.get('annotations') is not None or source.role != 'test'):
        _check_classes(source.classes, seen, is_thing, found)
    selected = frozenset(i for i, name in names.items() if name in classes)
    if source.thing_classes is not None:
        is_thing |= {name: name in source.thing_classes for name in source.classes}
    things = frozenset(i for i, name in names.items()
                       if source.kind == 'instance' or is_thing.get(name, True))
    return Categories(names, selected, things, classes)


def _isthing(entry: dict, found: Findings) -> bool | None:
    source = found.source
    if 'isthing' in entry:
        value = found.checked('category', entry, 'isthing', FLAG, file=source.ann_file)
        return None if value is None else bool(value)
    if source.kind == 'panoptic' and source.thing_classes is None:
        found.add('PAN014', f'{name_of("category", entry)} has no "isthing"', file=source.ann_file)
    return None


def _check_alike(names: Iterable[str], found: Findings) -> None:
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(_plain(name), []).append(name)
    for group in alike.values():
        if len(group) > 1:
            found.add('PAN046', f'categories {" and ".join(map(repr, group))} differ in capitals, '
                      'spaces or dashes only', file=found.source.ann_file)


def _plain(name: str) -> str:
    return ' '.join(name.casefold().replace('-', ' ').replace('_', ' ').split())


def _check_config(found: Findings) -> None:
    """Check the classes of the config alone."""
    source = found.source
    for name, count in Counter(source.classes).items():
        if count > 1:
            found.add('PAN045', f'class {name!r} appears {count} times in metainfo')
    given = (source.thing_classes is None, source.stuff_classes is None)
    if source.kind == 'panoptic' and given[0] != given[1]:
        found.add('PAN045', 'metainfo needs both thing_classes and stuff_classes (one may be '
                  'empty)')


def _check_classes(classes: Sequence[str], names: dict[str, int], is_thing: dict[str, bool],
                   found: Findings) -> None:
    source, path = found.source, found.source.ann_file
    absent = [name for name in classes if name not in names]
    others = [name for name in names if name not in classes]
    if absent and len(absent) == len(classes):
        found.add('PAN016', f'none of the {len(classes)} classes of the config is a category; the '
                  f'file has {listed(names)}, the config {listed(classes)}', file=path)
    else:
        for name in absent:
            near = near_names(name, others)
            hint = (f'did you mean {" or ".join(map(repr, near))}?' if near else
                    f'categories that the config does not have: {listed(others)}' if others else
                    'the config has all of its categories')
            found.add('PAN016', f'no category {name!r}; {hint}', file=path)
    for name in classes:
        given, thing = source.thing_classes, is_thing.get(name)
        if given is not None and thing is not None and thing != (name in given):
            kind = 'thing' if name in given else 'stuff'
            found.add('PAN015', f'category {name!r} has isthing={int(thing)}, and the config has '
                      f'it among the {kind}_classes', file=path)
    things = set(source.thing_classes or ())
    for kind in ('things', 'stuff'):
        ours, theirs = ([name for name in order if name in names and name in classes
                         and (name in things) == (kind == 'things')] for order in (classes, names))
        if ours != theirs:
            place = next(i for i, pair in enumerate(zip(ours, theirs)) if len(set(pair)) > 1)
            found.add('PAN018', f'number {place} of its {kind if things else "categories"} is '
                      f'{theirs[place]!r}, in the config it is {ours[place]!r}', file=path)


def near_names(name: str, others: Sequence[str]) -> list[str]:
    """Return names that are spelled like another one.

    Args:
        name: the name.
        others: names to choose from.
    """
    plain: dict[str, str] = {}
    for other in others:
        plain.setdefault(_plain(other), other)
    return [plain[near] for near in difflib.get_close_matches(_plain(name), plain, n=3)]


def listed(names: Iterable[str]) -> str:
    """Join the first names with commas."""
    names = list(names)
    more = f' and {len(names) - _LISTED} more' if len(names) > _LISTED else ''
    return ', '.join(map(repr, names[:_LISTED])) + more if names else 'none'
