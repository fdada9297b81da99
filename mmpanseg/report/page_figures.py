"""First part of the report's page: the figures, and what goes wrong most."""
from collections.abc import Mapping

from mmpanseg.pages.charts import Part, bar, percent, stacked_bar
from mmpanseg.pages.page import Content, Markup, table, tag
from mmpanseg.pages.svg import key, legend
from mmpanseg.report.page_words import KIND_WORDS, REASON_WORDS, Words, kind_color, pixel_color
from mmpanseg.report.records import Summary
from mmpanseg.structures.error_kinds import NO_ERRORS, PIXEL_TITLES, SEGMENT_KINDS, PixelKind

_VARIANTS = {'all': 'all sizes', 'small': 'small', 'medium': 'medium', 'large': 'large',
             'boundary': 'boundary PQ'}
_GROUPS = {'all': 'all classes', 'things': 'things', 'stuff': 'stuff'}
# words of metrics, whose numbers are in percent
_METRICS = {'instance/AP': ('AP', 'average precision of masks'),
            'boundary/AP': ('Boundary AP', 'strict at the borders'),
            'semantic/mIoU': ('mIoU', 'mean IoU of the semantic map')}


def figures(summary: Summary) -> list[Content]:
    """Create the main figures and the table of all variants.

    Args:
        summary: of the report.
    """
    main = summary.quality.get('all', {})
    tiles = [_tile('PQ', 'panoptic quality', _value(main.get('all', {}), 'pq'), 'main'),
             _tile('SQ', 'IoU of what is found', _value(main.get('all', {}), 'sq')),
             _tile('RQ', 'F1 score of finding', _value(main.get('all', {}), 'rq'))]
    tiles += [_tile(f'PQ {_GROUPS[name]}', f'{main[name]["n"]:.0f} classes',
                    _value(main[name], 'pq'))
              for name in ('things', 'stuff') if main.get(name, {}).get('n')]
    boundary = summary.quality.get('boundary', {}).get('all')
    if boundary:
        tiles.append(_tile('Boundary PQ', 'strict at the borders', _value(boundary, 'pq')))
    for name, (title, note) in _METRICS.items():
        if name in summary.metrics:
            tiles.append(_tile(title, note, summary.metrics[name]))
    return [tag('ul', tiles, class_='tiles'), _quality_table(summary)]


def _tile(title: str, note: str, value: float | None, kind: str = '') -> Markup:
    return tag('li', tag('span', title, class_='name'),
               tag('b', '–' if value is None else f'{value:.1f}'),
               tag('span', note, class_='soft'), class_=kind or None)


def _value(quality: Mapping[str, float], name: str) -> float | None:
    return 100 * quality[name] if quality.get('n') else None


def _quality_table(summary: Summary) -> Markup | None:
    rows = []
    for variant in [name for name in _VARIANTS if name in summary.quality]:
        for group, title in _GROUPS.items():
            found = summary.quality[variant].get(group)
            if found and found['n']:
                rows.append([f'{_VARIANTS[variant]}, {title}' if group != 'all' else
                             tag('b', _VARIANTS[variant]),
                             *(f'{100 * found[name]:.1f}' for name in ('pq', 'sq', 'rq')),
                             f'{found["n"]:.0f}'])
    if not rows:
        return None
    further = [[name, f'{value:.2f}'] for name, value in summary.metrics.items()]
    return tag('details', tag('summary', 'By size of segment, things and stuff, all figures'),
               tag('div', tag('div', table(['', 'PQ', 'SQ', 'RQ', 'classes'], rows, range(1, 5)),
                              class_='scroll'),
                   tag('div', table([
                       ['as ', tag('code', 'mmpanseg test'), ' prints it'], ''], further, [1]),
                       class_='scroll') if further else None, class_='columns'),
               tag('p', 'In percent. A size is that of the true segment, or of a prediction '
                   'without a match: small below 32 x 32 pixels, large from 96 x 96. Boundary PQ '
                   'takes the smaller one of the IoU of masks and the IoU of their borders.',
                   class_='soft'))


def improvements(summary: Summary) -> list[Content]:
    """Create the chart of errors by kind, with what would repair each.

    Args:
        summary: of the report.
    """
    gt, pred = (_counts(summary, side) for side in ('gt', 'pred'))
    return [
        tag('div',
            tag('div', _side('gt', 'Segments of the ground truth', gt, 'found'), _pixels(summary),
                class_='below'),
            tag('div', _side('pred', 'Predicted segments', pred, 'right'), _reasons(summary),
                class_='below'), class_='columns')]


def _counts(summary: Summary, side: str) -> dict[str, int]:
    found = summary.kinds.get(side, {})
    return {kind: found[kind] for kind in SEGMENT_KINDS if found.get(kind)}


def _side(side: str, title: str, counts: dict[str, int], good: str) -> Markup:
    scored = sum(number for kind, number in counts.items() if kind != 'ignored')
    matched = counts.get('matched', 0)
    errors = sorted(((kind, number) for kind, number in counts.items() if kind not in NO_ERRORS),
                    key=lambda entry: -entry[1])
    most = max((number for _, number in errors), default=1)
    parts = [Part(good if kind == 'matched' else KIND_WORDS[kind].title, counts[kind],
                  kind_color(kind))
             for kind in ('matched', *(kind for kind, _ in errors)) if kind in counts]
    ignored = counts.get('ignored', 0)
    return tag(
        'div',
        tag('h3', title),
        tag('p', tag('b', f'{matched:,}'), f' of {scored:,} are {good}',
            f' ({percent(matched / scored)})' if scored else None, '.',
            f' {ignored:,} more are not scored.' if ignored else None),
        stacked_bar(parts, label=title),
        tag('ul', [_row(KIND_WORDS[kind], number, scored, most, kind_color(kind),
                        {'data-filter-kind': f'{side}:{kind}'})
                   for kind, number in errors], class_='kinds')
        if errors else tag('p', 'No errors.', class_='soft'), class_='side')


def _row(words: Words, number: int, total: int, most: int, color: str,
         link: Mapping[str, str]) -> Markup:
    """Create the row of a kind: a button that shows its images, a bar, its advice."""
    return tag(
        'li', tag('button', key(color), words.title, attributes={
            'type': 'button', 'title': 'show these', **link}),
        tag('span', tag('b', f'{number:,}'), ' ', tag('span', percent(number / total),
                                                     class_='soft'), class_='number'),
        bar(number / most, color), tag('p', words.advice, class_='soft'))


def _reasons(summary: Summary) -> Markup | None:
    if not summary.reasons:
        return None
    found = {reason: number for reason, number in summary.reasons.items() if number}
    total, most = sum(found.values()), max(found.values(), default=1)
    return tag(
        'div', tag('h3', 'What the queries had'),
        tag('p', f'Of the {total:,} segments of the ground truth without a match.'),
        tag('ul', [_row(REASON_WORDS[reason], found[reason], total, most, kind_color(reason),
                        {'data-filter-kind': f'reason:{reason}'})
                   for reason in sorted(found, key=lambda name: -found[name])],
            class_='kinds'), class_='side')


def _pixels(summary: Summary) -> Markup | None:
    total = sum(summary.pixels.values())
    if not total:
        return None
    parts = [Part(PIXEL_TITLES[kind], summary.pixels.get(kind.name.lower(), 0), pixel_color(kind))
             for kind in PixelKind]
    return tag(
        'div', tag('h3', 'Pixels'), stacked_bar(parts, label='pixels of all images'),
        pixel_legend(summary.pixels), class_='side')


def pixel_legend(pixels: Mapping[str, int] | None = None) -> Markup:
    """Create the legend of error maps.

    Args:
        pixels: numbers of pixels by kind, for their shares; None for a legend without.
    """
    if pixels is None:
        return legend((pixel_color(kind), PIXEL_TITLES[kind]) for kind in PixelKind)
    total = sum(pixels.values())
    shares = {kind: pixels.get(kind.name.lower(), 0) / total for kind in PixelKind}
    return legend((pixel_color(kind), [
        PIXEL_TITLES[kind], tag('span', ' ', percent(share), class_='soft')])
        for kind, share in shares.items() if share)
