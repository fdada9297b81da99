"""What the script of the report's page reads: all images and segments, in a short form.

Pictures are not in it, only their addresses. An image with 20 segments takes about 1.5 kB.
"""
from collections.abc import Iterable, Iterator
from typing import Any

from mmpanseg.evaluation.boundary_and_size_pq import SIZE_LIMITS, SIZES
from mmpanseg.pages.page import address
from mmpanseg.report.page_words import KIND_WORDS, REASON_WORDS
from mmpanseg.report.records import ImageRecord, SegmentRecord, Summary
from mmpanseg.report.short_names import without_folders
from mmpanseg.structures.error_kinds import NO_ERRORS, PIXEL_TITLES, SEGMENT_KINDS, PixelKind
from mmpanseg.utils import strict_json

PANELS = {'image': 'image', 'prediction': 'prediction', 'truth': 'ground truth',
          'errors': 'error map'}
_ADDRESSES = (*PANELS, *(f'{name}_small' for name in PANELS))
_REASONS = tuple(REASON_WORDS)


def facts(summary: Summary) -> str:
    """Write as JSON what all images share: classes, names of kinds, sizes and panels."""
    return strict_json.dumps(dict(
        classes=[dict(name=entry.name, color=f'rgb({" ".join(map(str, entry.color))})')
                 for entry in summary.classes],
        kinds=[dict(key=kind, title=KIND_WORDS[kind].title, wrong=kind not in NO_ERRORS)
               for kind in SEGMENT_KINDS],
        reasons=[dict(key=key, title=words.title) for key, words in REASON_WORDS.items()],
        pixels=[dict(key=kind.name.lower(), title=PIXEL_TITLES[kind]) for kind in PixelKind],
        sizes=[dict(title=name, low=low, high=high) for name, low, high in zip(
            SIZES, (0, *SIZE_LIMITS), (*SIZE_LIMITS, None))],
        panels=[dict(key=key, title=title) for key, title in PANELS.items()]))


def image_pieces(records: Iterable[ImageRecord]) -> Iterator[str]:
    """Write the images as pieces of one JSON text, one after the other.

    Args:
        records: of the images.

    Yields:
        pieces of ``{"images": [...], "templates": [...]}``. An image is a list, see
        :func:`_image`; a template has the addresses of pictures, with ``*`` for the image's
        number in six digits.
    """
    templates: dict[tuple[str, ...], int] = {}
    yield '{"images":['
    for place, record in enumerate(records):
        yield (',\n' if place else '\n') + strict_json.dumps(
            _image(record, templates), separators=(',', ':'))
    yield '],"templates":' + strict_json.dumps([list(entry) for entry in templates]) + '}'


def _image(record: ImageRecord, templates: dict[tuple[str, ...], int]) -> list[Any]:
    number = f'{record.number:06d}'
    # a * of a name is encoded in its address
    template = tuple(address(record.pictures.get(name, '')).replace(number, '*')
                     for name in _ADDRESSES)
    labels = {(entry.side, entry.id): entry.label for entry in record.segments}
    total = sum(record.pixels.values())
    return [
        record.number, record.name,
        [None if value is None else round(value, 4) for value in (record.pq, record.sq, record.rq)],
        [record.tp, record.fp, record.fn], [record.size[1], record.size[0]],
        templates.setdefault(template, len(templates)),
        [_share(record.pixels.get(kind.name.lower(), 0), total) for kind in PixelKind],
        [_segment(entry, labels) for entry in record.segments],
        *(without_folders((text or '').replace(record.path or record.name, record.name))
          for text in (record.error, record.note))]


def _share(number: int, total: int) -> float:
    """Round a share; one that is neither 0 nor 1 remains so."""
    if number in (0, total):
        return float(number > 0)
    return min(max(round(number / total, 4), 1e-4), 1 - 1e-4)


def _segment(entry: SegmentRecord, labels: dict[tuple[str, int], int]) -> list[Any]:
    """Shorten a segment.

    Returns:
        [side (0: ground truth), class, number of the kind, area, IoU, score, box, text, number of
        the reason or -1, class of its partner on the other side or -1].
    """
    other = 'pred' if entry.side == 'gt' else 'gt'
    partner = -1 if entry.partner is None else labels.get((other, entry.partner), -1)
    return [
        int(entry.side == 'pred'), entry.label, SEGMENT_KINDS.index(entry.kind), entry.area,
        round(entry.iou, 3), None if entry.score is None else round(entry.score, 3),
        list(entry.box), entry.text if entry.kind not in NO_ERRORS else '',
        -1 if entry.reason is None else _REASONS.index(entry.reason), partner]
