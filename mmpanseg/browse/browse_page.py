"""The page of a run: what was browsed, the table of classes, a card per image."""
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mmpanseg.browse.cards import PICTURES, ImageCard, Panel, statistics_by_class
from mmpanseg.browse.sources import Classes
from mmpanseg.pages.gallery import Card, Picture, gallery, group_button, swatch
from mmpanseg.pages.page import Content, Markup, table, tag

_ORDERS = {
    'order:up': 'as selected', 'index:up': 'index', 'segments:down': 'most segments',
    'smallest:up': 'smallest segment', 'void:down': 'most void', 'pixels:down': 'largest image',
    'errors:down': 'errors first'}
# classes of a card before the rest is a number
_CHIPS = 9


class Heading(NamedTuple):
    """What the page says above its cards.

    Attributes:
        title: of the page.
        facts: short texts below it.
        notes: what needs attention.
        sheets: names of the contact sheets.
    """

    title: str
    facts: Sequence[str]
    notes: Sequence[str]
    sheets: Sequence[str]


def page_body(cards: Sequence[ImageCard], classes: Classes, heading: Heading) -> list[Markup]:
    """Create the content of the page.

    Args:
        cards: the images in their order.
        classes: of the data set.
        heading: see :class:`Heading`.
    """
    present = [label for label, _ in statistics_by_class(list(cards))]
    groups = {label: classes.names[label] for label in present}
    return [
        tag('header', tag('h1', heading.title),
            tag('p', ' · '.join(heading.facts), class_='soft'),
            [tag('p', note, class_='error') for note in heading.notes],
            tag('p', _legend(cards, classes), class_='soft'),
            tag('p', 'All on one picture: ', _joined(
                [tag('a', name, href=name) for name in heading.sheets]))
            if heading.sheets else None),
        *_class_table(cards, classes),
        *gallery([_card(card, classes) for card in cards], groups, _ORDERS)]


def _joined(items: Sequence[Content]) -> list[Content]:
    parts: list[Content] = []
    for item in items:
        parts += [', ', item] if parts else [item]
    return parts


def _legend(cards: Sequence[ImageCard], classes: Classes) -> str:
    views = [panel for card in cards for panel in card.panels]
    parts = []
    if classes.has_void and any(panel.statistics.void_share for panel in views):
        parts.append('Striped: void, no segment.')
    if any(panel.statistics.num_crowds for panel in views):
        parts.append('Grid: a crowd, which training leaves out.')
    if any(panel.statistics.overlap for panel in views):
        parts.append('Objects overlap: an outline goes on where another object is in front.')
    if views:
        parts.append('Smallest: size of the smallest segment in pixels of the maps at stride 4.')
    return ' '.join(parts)


def _class_table(cards: Sequence[ImageCard], classes: Classes) -> list[Markup]:
    rows = list(statistics_by_class(list(cards)))
    if not classes.names:
        return []
    has_draws = any(card.draws() for card in cards)
    head = ['class', 'kind', 'images', 'segments', *(['in a draw'] if has_draws else []),
            'pixels']
    body = [
        [group_button(label, [swatch(classes.palette[label]), classes.names[label]],
                      class_='chip', title='show the images of this class only'),
         'thing' if label < classes.num_things else 'stuff' if classes.num_things else 'class',
         f'{total["images"]:.0f}', f'{total["original"]:.0f}',
         *([f'{total["drawn"]:.1f}'] if has_draws else []), _percent(total['share'])]
        for label, total in rows]
    shown = {label for label, _ in rows}
    absent = [name for label, name in enumerate(classes.names) if label not in shown]
    return [tag(
        'details', tag('summary', f'Segments by class in these images: {len(rows)} of '
                       f'{len(classes.names)} classes'),
        tag('div', table(head, body, range(2, len(head))), class_='scroll') if body else None,
        tag('details', tag('summary', f'{len(absent)} classes without a segment'),
            tag('p', ', '.join(absent), class_='soft')) if absent else None,
        open=len(rows) <= 16)]


def _percent(share: float) -> str:
    return f'{100 * share:.1f} %' if share >= 0.0005 or not share else '<0.1 %'


def _card(card: ImageCard, classes: Classes) -> Card:
    original = card.panel('original')
    numbers = (original or (card.panels[0] if card.panels else None))
    values: dict[str, float] = dict(index=card.index, errors=len(card.errors))
    found: dict[int, int] = {}
    for panel in card.panels:
        for label, count in panel.statistics.segments.items():
            if panel is original or original is None:
                found[label] = count
            found.setdefault(label, 0)
    if numbers is not None:
        statistics = numbers.statistics
        values.update(segments=statistics.num_segments, void=round(statistics.void_share, 6),
                      pixels=statistics.size[0] * statistics.size[1])
        if statistics.smallest is not None:
            values['smallest'] = statistics.smallest
    details = f'index {card.index}'
    if card.image_id is not None and str(card.image_id) not in card.name:
        details += f', id {card.image_id}'
    return Card(
        f'image-{card.index:06d}', card.name,
        [_picture(card, panel, classes) for panel in card.panels],
        tag('span', details, class_='soft'),
        [*(tag('p', error, class_='error') for error in card.errors), _chips(found, classes)],
        sorted(found), values)


def _chips(found: dict[int, int], classes: Classes) -> Markup | None:
    if not found:
        return None
    # classes with many segments first
    labels = sorted(found, key=lambda label: (-found[label], label))
    return tag('div', [
        group_button(label, [swatch(classes.palette[label]), classes.names[label],
                             f' {found[label]}' if found[label] > 1 else None], class_='chip')
        for label in labels[:_CHIPS]],
        tag('span', f'+ {len(labels) - _CHIPS} more', class_='soft')
        if len(labels) > _CHIPS else None, class_='chips')


def _picture(card: ImageCard, panel: Panel, classes: Classes) -> Picture:
    title = _title(panel.name)
    return Picture(
        panel.name, f'{PICTURES}/{panel.large}', f'{PICTURES}/{panel.small}', panel.small_size,
        [tag('div', tag('b', title), _facts(panel, classes), class_='facts'),
         tag('div', ' · '.join(panel.parameters), class_='soft') if panel.parameters else None,
         tag('div', panel.note, class_='warn') if panel.note else None],
        f'{card.name}, {title}', f'{PICTURES}/{panel.plain}')


def _title(name: str) -> str:
    return name if name == 'original' else f'loaded {name.removeprefix("draw")}'


def _facts(panel: Panel, classes: Classes) -> Iterator[Markup]:
    statistics = panel.statistics
    height, width = statistics.size
    yield tag('span', f'{width}x{height}')
    if not statistics.has_segments:
        yield tag('span', 'no ground truth loaded', class_='warn')
        return
    count = statistics.num_segments
    yield tag('span', f'{count} segment{"" if count == 1 else "s"}')
    if statistics.num_empty:
        yield tag('span', f'{statistics.num_empty} empty', class_='warn')
    if statistics.num_crowds:
        crowds = statistics.num_crowds
        yield tag('span', f'{crowds} crowd{"" if crowds == 1 else "s"}')
    what = 'void' if classes.has_void else 'background'
    yield tag('span', tag('i', what), _percent(statistics.void_share))
    smallest = statistics.smallest_at_stride
    if smallest is not None:
        text = f'{smallest:.2f}' if smallest < 10 else f'{smallest:,.0f}'
        yield tag('span', tag('i', 'smallest'), tag(
            'span', text, class_='warn' if smallest < 1 else None))
