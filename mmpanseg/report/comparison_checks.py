"""What two reports must have in common to be compared, and what its reader must know."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmpanseg.report.records import ImageRecord, Summary

# options of a report that change predictions
_OPTIONS = ('tta', 'cfg_options')


def check_classes(a: Summary, b: Summary, folder_a: Path, folder_b: Path) -> None:
    """Check that two reports have the same classes in the same order.

    Args:
        a: summary of A.
        b: summary of B.
        folder_a: for the error text.
        folder_b: for the error text.

    Raises:
        ValueError: they differ.
    """
    names_a, names_b = ([(entry.name, entry.is_thing) for entry in side.classes]
                        for side in (a, b))
    if names_a == names_b:
        return
    place = next((place for place, (one, other) in enumerate(zip(names_a, names_b))
                  if one != other), min(len(names_a), len(names_b)))
    one, other = (_class_text(names, place) for names in (names_a, names_b))
    raise ValueError(
        f'{folder_a} and {folder_b} cannot be compared, their classes differ: class {place} is '
        f'{one} in the first and {other} in the second ({len(names_a)} and {len(names_b)} '
        'classes); make both reports with the same ground truth')


def check_truth(a: ImageRecord, b: ImageRecord, folder_a: Path, folder_b: Path) -> None:
    """Check that two reports have the same ground truth of an image.

    Args:
        a: record of A.
        b: record of B.
        folder_a: for the error text.
        folder_b: for the error text.

    Raises:
        ValueError: size or segments differ.
    """
    if a.size != b.size:
        what = (f'{a.size[1]}x{a.size[0]} pixels (width x height) in the first, '
                f'{b.size[1]}x{b.size[0]} in the second')
    else:
        true_a, true_b = (
            {(entry.id, entry.label, entry.area, entry.box, entry.kind == 'ignored')
             for entry in record.segments if entry.side == 'gt'} for record in (a, b))
        if true_a == true_b:
            return
        odd = min(true_a ^ true_b)
        what = (f'segment {odd[0]} is not the same ({len(true_a)} and {len(true_b)} segments)')
    raise ValueError(
        f'{folder_a} and {folder_b} cannot be compared, the ground truths of image {a.image_id} '
        f'({a.name}) differ: {what}; make both reports with the same ground truth')


def distinct_titles(a: Summary, b: Summary) -> tuple[str, str]:
    """Return the titles of two reports, with the names of weights or predictions if equal."""
    if a.title != b.title:
        return a.title, b.title
    files = [Path(side.source.get('checkpoint') or side.source.get('predictions', '')).name
             for side in (a, b)]
    if files[0] == files[1]:
        files = ['A', 'B']
    return f'{a.title} ({files[0]})', f'{b.title} ({files[1]})'


def comparison_notes(a: Summary, b: Summary, only: tuple[list[str], list[str]]) -> list[str]:
    """Write what a reader of a comparison must know.

    Args:
        a: summary of A.
        b: summary of B.
        only: names of the images that only A, and only B has figures of.
    """
    notes = []
    for letter, other, names in (('A', 'B', only[0]), ('B', 'A', only[1])):
        if names:
            shown = ', '.join(names[:5]) + (', ...' if len(names) > 5 else '')
            notes.append(f'Left out, because only the report of {letter} has their figures, not '
                         f'that of {other}: {len(names)} image{"s" if len(names) > 1 else ""} '
                         f'({shown}).')
    for letter, summary in (('A', a), ('B', b)):
        if not summary.complete:
            notes.append(f'The report of {letter} is not complete.')
    for key in _OPTIONS:
        options = [side.options.get(key) for side in (a, b)]
        if options[0] != options[1]:
            notes.append(f'Options differ, {key}: {_option_text(options[0])} for A, '
                         f'{_option_text(options[1])} for B.')
    if (a.reasons is None) != (b.reasons is None):
        letter = 'A' if a.reasons is None else 'B'
        notes.append(f'The queries of {letter} are unknown: what it lost in the fusion is counted '
                     'under other kinds.')
    return notes


def _class_text(names: Sequence[tuple[str, bool]], place: int) -> str:
    if place >= len(names):
        return 'none'
    name, is_thing = names[place]
    return f'{name!r} ({"thing" if is_thing else "stuff"})'


def _option_text(value: Any) -> str:
    if isinstance(value, dict):
        return ', '.join(f'{key}={entry}' for key, entry in value.items()) or 'none'
    return 'none' if value is None else str(value)
