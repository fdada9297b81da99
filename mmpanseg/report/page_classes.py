"""Second part of the report's page: classes, what is confused, scores, sizes."""
from collections.abc import Sequence

import numpy as np

from mmpanseg.evaluation.boundary_and_size_pq import SIZE_LIMITS
from mmpanseg.pages.charts import (
    Part,
    Point,
    bar,
    percent,
    recall_by_size,
    reliability,
    scatter,
    stacked_bar,
)
from mmpanseg.pages.gallery import swatch
from mmpanseg.pages.matrix import confused_classes, largest_confusions, matrix
from mmpanseg.pages.page import Content, Markup, tag
from mmpanseg.pages.svg import legend
from mmpanseg.report.page_words import KIND_WORDS, kind_color
from mmpanseg.report.records import ClassRecord, Summary
from mmpanseg.structures.error_kinds import NO_ERRORS, SEGMENT_KINDS

# rows and classes that are shown before the rest is asked for
_ROWS, _MATRIX, _PAIRS = 20, 16, 10


def class_table(summary: Summary) -> list[Content]:
    """Create the table of all classes, with bars of PQ and of the kinds of errors.

    Args:
        summary: of the report.
    """
    found = [(label, entry) for label, entry in enumerate(summary.classes)
             if entry.quality.get('all')]
    absent = [entry.name for entry in summary.classes if not entry.quality.get('all')]
    found.sort(key=lambda pair: -pair[1].quality['all']['pq'])
    with_ap = any(entry.ap is not None for _, entry in found)
    with_iou = any(entry.iou is not None for _, entry in found)
    heads = [('class', 'name', 'up'), ('PQ', 'pq', 'down'), ('SQ', 'sq', 'down'),
             ('RQ', 'rq', 'down'), *([('AP', 'ap', 'down')] if with_ap else []),
             *([('IoU', 'iou', 'down')] if with_iou else []), ('segments', 'segments', 'down'),
             ('what became of them', 'missing', 'down')]
    head = tag('tr', [
        tag('th', tag('button', title, attributes={'type': 'button', 'data-sort': f'{key}:{way}'}),
            class_=f'column-{key}', scope='col',
            aria_sort='descending' if key == 'pq' else None) for title, key, way in heads])
    rows = [_class_row(place, label, entry, with_ap, with_iou)
            for place, (label, entry) in enumerate(found)]
    kinds = [kind for kind in SEGMENT_KINDS
             if kind != 'ignored' and summary.kinds.get('gt', {}).get(kind)]
    return [
        legend((kind_color(kind), KIND_WORDS[kind].title) for kind in kinds),
        tag('div', tag('table', tag('thead', head), tag('tbody', rows), class_='classes',
                       id='classes'), class_='scroll'),
        tag('button', f'Show all {len(found)} classes', id='all-classes', type='button')
        if len(found) > _ROWS else None,
        tag('details', tag('summary', f'{len(absent)} classes without a segment in truth or '
                           'prediction'), tag('p', ', '.join(absent), class_='soft'))
        if absent else None]


def _class_row(place: int, label: int, entry: ClassRecord, with_ap: bool, with_iou: bool
               ) -> Markup:
    quality = entry.quality['all']
    counts = entry.kinds.get('gt', {})
    parts = [Part(KIND_WORDS[kind].title, counts.get(kind, 0), kind_color(kind))
             for kind in SEGMENT_KINDS if kind != 'ignored']
    missing = sum(number for kind, number in counts.items() if kind not in NO_ERRORS)
    values = dict(name=entry.name.lower(), pq=quality['pq'], sq=quality['sq'], rq=quality['rq'],
                  ap=entry.ap, iou=entry.iou, segments=entry.segments, missing=missing)
    name = tag('button', swatch(entry.color), entry.name, class_='plain', attributes={
        'type': 'button', 'data-filter-class': label, 'title': 'show the images of this class'})
    return tag(
        'tr',
        tag('th', name, tag('span', 'thing' if entry.is_thing else 'stuff', class_='soft sort'),
            scope='row'),
        tag('td', tag('span', bar(quality['pq']), tag('b', f'{100 * quality["pq"]:.1f}'),
                      class_='with-bar')),
        [tag('td', f'{100 * quality[key]:.1f}', class_='number') for key in ('sq', 'rq')],
        tag('td', _percent(entry.ap), class_='number') if with_ap else None,
        tag('td', _percent(entry.iou), class_='number') if with_iou else None,
        tag('td', f'{entry.segments:,}', class_='number'),
        tag('td', stacked_bar(parts, label=entry.name) if entry.segments else None,
            class_='fates'),
        hidden=place >= _ROWS, attributes={
            f'data-{key}': value for key, value in values.items()})


def _percent(value: float | None) -> str:
    return '–' if value is None else f'{100 * value:.1f}'


def class_plot(summary: Summary) -> Markup | None:
    """Draw SQ against RQ of all classes."""
    points = [Point(entry.name, quality['rq'], quality['sq'], 0 if entry.is_thing else 1,
                    f'{entry.name}: PQ {100 * quality["pq"]:.1f}, SQ {100 * quality["sq"]:.1f}, '
                    f'RQ {100 * quality["rq"]:.1f}, {entry.segments:,} segments',
                    entry.segments)
              for entry in summary.classes if (quality := entry.quality.get('all'))
              and quality['tp']]
    if not points:
        return None
    absent = sum(bool(entry.quality.get('all')) and not entry.quality['all']['tp']
                 for entry in summary.classes)
    kinds = {point.kind for point in points}
    return _panel(
        'Found or well outlined: SQ against RQ',
        'A class far left is not found; one far down is found, but badly outlined. PQ is the '
        'product; on a dashed line it is the same.'
        + (f' {absent} classes without any match have no SQ and are not here.' if absent > 1 else
           ' One class without any match has no SQ and is not here.' if absent else ''),
        legend((f'series-{kind}', ('things', 'stuff')[kind]) for kind in sorted(kinds))
        if len(kinds) > 1 else None,
        scatter(points, 'RQ', 'SQ', 'SQ against RQ of each class; the table of classes has the '
                'numbers', {product: f'PQ {product}' for product in (0.2, 0.4, 0.6, 0.8)}))


def calibration_plot(summary: Summary) -> Markup | None:
    """Draw the reliability of scores; None without scores."""
    found = summary.calibration
    if found is None:
        return None
    bins = found['bins']
    shift = sum(row['n'] * (row['score'] - row['right']) for row in bins if row['n']) / found['n']
    tells = ('On average they are right.' if abs(shift) < 0.0005 else
             f'On average they are {abs(100 * shift):.1f} points too '
             f'{"high" if shift > 0 else "low"}.')
    return _panel(
        'Can scores be trusted?',
        f'Expected calibration error {100 * found["ece"]:.1f} points, of {found["n"]:,} predicted '
        f'segments. {tells} Bars that end at the dashed line are right as often as their score '
        'says. Orange: the score promises too much; pale: too little.', None,
        reliability(bins, f'Share of right segments by score, expected calibration error '
                          f'{found["ece"]:.3f}'))


def size_plot(summary: Summary) -> Markup | None:
    """Draw the recall by size of segment."""
    bins = summary.recall_by_area
    number = sum(row['n'] for row in bins)
    if not number:
        return None
    found = sum(row['found'] for row in bins)
    return _panel(
        'What size is found?',
        f'{found:,} of {number:,} segments of the ground truth are found ({percent(found / number)}'
        f'). A segment of side 32 has the area of a square of 32 x 32 pixels.', None,
        recall_by_size(bins, 'Share of segments found, by size',
                       dict(zip(SIZE_LIMITS, ('medium', 'large')))))


def _panel(title: str, note: str, above: Markup | None, picture: Markup) -> Markup:
    return tag('div', tag('h3', title), tag('p', note, class_='soft'), above, picture,
               class_='panel')


def confusions(summary: Summary) -> list[Content]:
    """Create the confusion matrix: the largest confusions, the classes of them, all classes."""
    if not summary.confusion:
        return []
    counts = np.asarray(summary.confusion['counts'], np.int64)
    rows, columns = summary.confusion['rows'], summary.confusion['columns']
    if not counts.any():
        return []
    chosen = confused_classes(counts, _MATRIX)
    present = [label for label in range(len(counts) - 1)
               if counts[label].any() or counts[:, label].any()]
    whole = len(present) <= len(chosen)
    return [tag('div', _pairs(counts, rows, columns), tag(
        'div', tag('p', 'Rows: the classes of the ground truth, columns: what was predicted '
                       f'there with an IoU above 0.5. Last column: {columns[-1]}, no segment fits. '
                       f'Last row: {rows[-1]}, a prediction where no segment fits. Colors: share '
                       'of the row.' + ('' if whole else f' The {len(chosen)} classes that are '
                                        f'confused most, of {len(present)}.'), class_='soft'),
        matrix(counts, rows, columns, chosen), class_='panel'), class_='confusions'),
        None if whole else tag('details', tag('summary', f'All {len(present)} classes'),
                               tag('div', matrix(counts, rows, columns, present), class_='panel'))]


def _pairs(counts: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> Markup | None:
    pairs = largest_confusions(counts, _PAIRS)
    if not pairs:
        return tag('div', tag('p', 'No class is taken for another one.'), class_='panel')
    most = pairs[0].number
    return tag('div', tag('h3', 'Largest confusions'), tag('ul', [
        tag('li', tag('button', rows[pair.row], tag('span', ' taken for ', class_='soft'),
                      columns[pair.column], class_='plain', attributes={
                          'type': 'button', 'data-row': pair.row, 'data-column': pair.column,
                          'title': 'show these'}),
            bar(pair.number / most, kind_color('wrong_class')),
            tag('span', tag('b', f'{pair.number:,}'), ' ', tag(
                'span', f'{percent(pair.share)} of {rows[pair.row]}', class_='soft'),
                class_='number'))
        for pair in pairs], class_='bars pairs'), class_='panel')

