"""The page of a report, ``index.html``: where a model fails and why, image by image."""
from collections.abc import Iterable, Iterator
from pathlib import Path

from mmpanseg.evaluation.boundary_and_size_pq import SIZES
from mmpanseg.pages.gallery import gallery_style
from mmpanseg.pages.page import Content, Markup, read_asset, tag, write_page
from mmpanseg.pages.svg import chart_style
from mmpanseg.report.page_classes import (
    calibration_plot,
    class_plot,
    class_table,
    confusions,
    size_plot,
)
from mmpanseg.report.page_data import PANELS, facts, image_pieces
from mmpanseg.report.page_figures import figures, improvements, pixel_legend
from mmpanseg.report.page_words import KIND_WORDS, REASON_WORDS, kind_css
from mmpanseg.report.records import PAGE, ImageRecord, Summary
from mmpanseg.report.short_names import short_sources, without_folders
from mmpanseg.structures.error_kinds import NO_ERRORS, SEGMENT_KINDS

_ORDERS = {
    'pq:up': 'worst PQ first', 'pq:down': 'best PQ first', 'errors:down': 'most errors',
    'fn:down': 'most missing segments', 'fp:down': 'most extra segments',
    'wrong:down': 'most wrong pixels', 'hits:down': 'most segments of the filter',
    'name:up': 'name', 'order:up': 'order of the data set'}
_SOURCES = {'config': 'config', 'checkpoint': 'checkpoint', 'predictions': 'predictions',
            'truth': 'ground truth', 'split': 'split'}


def write_report_page(folder: Path, summary: Summary, records: Iterable[ImageRecord]) -> None:
    """Write the page of a report, which opens from a disk without a network.

    All segments are in the page, about 1.5 kB for an image with 20 of them; pictures are files
    beside it. The records are read once, one after the other.

    Args:
        folder: of the report.
        summary: all figures.
        records: of the images, in the order of the data set.

    Raises:
        FileWriteError: the file cannot be written.
        ValueError: a picture is outside of the folder; a number is not finite.
    """
    write_page(
        folder / PAGE, summary.title, _body(summary),
        [chart_style(), gallery_style(), read_asset('page.css', __file__), kind_css()],
        [read_asset(f'page_{part}.js', __file__) for part in ('state', 'cards', 'viewer')],
        {'data-facts': [facts(summary)], 'data-images': image_pieces(records)})


def _body(summary: Summary) -> Iterator[Content]:
    parts = [
        ('figures', 'Figures', '', figures(summary)),
        ('improve', 'What goes wrong', 'Counts of what became of the segments. A click shows the '
         'images.', improvements(summary)),
        ('by-class', 'Classes', '', class_table(summary)),
        ('plots', 'Outlines, sizes, scores', '', [tag('div', [
            class_plot(summary), size_plot(summary), calibration_plot(summary)],
            class_='plots')]),
        ('confusion', 'What is confused', 'Pairs of segments with an IoU above 0.5, whatever their '
         'classes.', confusions(summary))]
    parts = [part for part in parts if part[3]]
    yield tag('header', tag('div', tag('h1', summary.title), _source(summary)),
              tag('button', 'dark / light', id='theme', type='button'), class_='top')
    yield [tag('p', without_folders(note), class_='note') for note in summary.notes]
    yield tag('nav', [tag('a', title, href=f'#{name}') for name, title, *_ in parts],
              tag('a', 'Images', href='#images'), aria_label='parts of this page', class_='parts')
    for name, title, note, content in parts:
        yield tag('section', tag('h2', title), tag('p', note, class_='soft') if note else None,
                  content, id=name)
    yield _images(summary)
    yield _viewer()
    yield tag('footer', tag('p', ' · '.join(_origin(summary)), class_='soft'))


def _source(summary: Summary) -> Markup:
    entries: list[Content] = []
    names = short_sources(summary.source)
    for key, title in _SOURCES.items():
        if names.get(key):
            entries.append(tag('span', tag('i', title), names[key]))
    number = f'{summary.num_scored:,} of {summary.num_images:,}' if (
        summary.num_scored != summary.num_images) else f'{summary.num_scored:,}'
    entries.append(tag('span', tag('i', 'images'), number))
    return tag('p', entries, class_='source')


def _origin(summary: Summary) -> Iterator[str]:
    yield 'Written by mmpanseg report'
    if summary.seconds:
        yield f'{summary.seconds:,.0f} s'
    yield from (f'{name} {version}' for name, version in summary.versions.items())


def _images(summary: Summary) -> Markup:
    return tag(
        'section', tag('h2', 'Images'),
        tag('noscript', tag('p', 'The images need JavaScript.', class_='note')),
        _filters(summary),
        tag('div', pixel_legend(), role='group', aria_label='colors of the error map'),
        _pager(), tag('div', id='cards'),
        tag('p', 'No image fits the filter.', id='empty', hidden=True), _pager(), id='images')


def _filters(summary: Summary) -> Markup:
    def choice(name: str, title: str, first: str, options: Content) -> Markup:
        return tag('label', tag('span', title), tag(
            'select', tag('option', first, value=''), options, id=f'filter-{name}',
            autocomplete='off'))

    present = sorted(((entry.name, label) for label, entry in enumerate(summary.classes)
                      if any(entry.kinds.get(side) for side in ('gt', 'pred'))),
                     key=lambda pair: pair[0].lower())
    return tag(
        'div',
        choice('class', 'class', 'all', [tag('option', name, value=label)
                                         for name, label in present]),
        choice('kind', 'error', 'all', list(_kind_options(summary))),
        choice('size', 'segment size', 'all', [tag('option', f'{name} ({limits})', value=place)
                                               for place, (name, limits) in enumerate(zip(
                                                   SIZES, ('< 32²', '< 96²', '≥ 96² px')))]),
        tag('label', tag('span', 'name'), tag('input', id='search', type='search',
                                              autocomplete='off')),
        tag('label', tag('span', 'order'), tag('select', [
            tag('option', title, value=key) for key, title in _ORDERS.items()], id='sort',
            autocomplete='off')),
        tag('button', id='pair', type='button', title='remove this filter', hidden=True),
        tag('button', 'clear filters', id='clear', type='button', hidden=True),
        tag('p', tag('b', id='count'), ' ', tag('span', id='hits', class_='soft'),
            tag('span', 'keys: j k step, Enter large', class_='soft keys'),
            class_='found', aria_live='polite'), class_='filters', role='search')


def _kind_options(summary: Summary) -> Iterator[Markup]:
    yield tag('option', 'any error', value='any:error')
    for side, title in (('gt', 'ground truth'), ('pred', 'predicted')):
        counts = summary.kinds.get(side, {})
        yield tag('optgroup', [
            tag('option', KIND_WORDS[kind].title, value=f'{side}:{kind}')
            for kind in SEGMENT_KINDS if counts.get(kind) and kind not in NO_ERRORS],
            label=title)
    found = [key for key in REASON_WORDS if (summary.reasons or {}).get(key)]
    if found:
        yield tag('optgroup', [tag('option', REASON_WORDS[key].title, value=f'reason:{key}')
                               for key in found], label='why there is no match')


def _pager() -> Markup:
    return tag(
        'nav', tag('button', '← previous', type='button', data_page='-1'),
        tag('span', class_='where'), tag('button', 'next →', type='button', data_page='1'),
        class_='pager', aria_label='pages of images', hidden=True)


def _viewer() -> Markup:
    def button(content: str, title: str, **more: object) -> Markup:
        return tag('button', content, attributes={'type': 'button', 'title': title}, **more)

    panels = [button('all', 'all panels (a)', data_view='all')] + [
        button(title, f'{title} only ({place})', data_view=key)
        for place, (key, title) in enumerate(PANELS.items(), 1)]
    return tag(
        'dialog',
        tag('div', tag('span', id='position', class_='soft'), tag('b', id='shown-name'),
            tag('span', id='shown-numbers'), tag('span', class_='space'),
            tag('span', panels, class_='views', role='group', aria_label='panels'),
            button('←', 'previous image (left arrow)', id='before', aria_label='previous image'),
            button('→', 'next image (right arrow)', id='after', aria_label='next image'),
            button('close', 'close (Esc)', id='close'), class_='bar'),
        tag('div', id='stage'),
        tag('div', tag('div', id='listed'), pixel_legend(),
            tag('p', 'keys: ← → images, ↑ ↓ segments, 1–4 panels, a all, + − zoom, 0 whole',
                class_='soft keys'), class_='side'),
        id='viewer', aria_label='image in large')
