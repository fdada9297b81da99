"""A gallery of pictures on a page: cards, filter, order, a viewer with keys, links to each picture.

The style and script of :func:`gallery_assets` belong to it.
"""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mmpanseg.pages.page import Content, Markup, address, read_asset, tag


@dataclass(frozen=True)
class Picture:
    """A picture of a card.

    Args:
        name: last part of its link, letters, digits and ``-``.
        large: address of the picture.
        small: address of a smaller version.
        size: (width, height) of the small version, for the layout before it is loaded.
        caption: content below it.
        alt: what it shows.
        plain: address of a version without overlay; '' without one.
    """

    name: str
    large: str
    small: str
    size: tuple[int, int]
    caption: Sequence[Content] = ()
    alt: str = ''
    plain: str = ''


@dataclass(frozen=True)
class Card:
    """A card.

    Args:
        id: of the element, and first part of its links; letters, digits and ``-``.
        title: name, which the search finds.
        pictures: from left to right.
        details: content beside the title.
        content: between title and pictures.
        groups: numbers of the groups that it belongs to, for the filter.
        values: sort key -> value; cards without one are last.
    """

    id: str
    title: str
    pictures: Sequence[Picture] = ()
    details: Content = None
    content: Sequence[Content] = ()
    groups: Sequence[int] = ()
    values: Mapping[str, float] = field(default_factory=dict)


def gallery(cards: Sequence[Card], groups: Mapping[int, str],
            orders: Mapping[str, str], group_title: str = 'class') -> list[Markup]:
    """Create a gallery with its controls and its viewer.

    Args:
        cards: in their first order.
        groups: number -> name, in the order of the filter's list.
        orders: ``key:up`` or ``key:down`` -> its name, with the keys of :attr:`Card.values`; the
            first order, ``order:up``, is that of ``cards``.
        group_title: what a group is.

    Returns:
        elements for the body of a page, of which one gallery can be on a page.
    """
    width = max((len(card.pictures) for card in cards), default=1)
    return [
        _controls(groups, orders, group_title),
        tag('main', [_card(number, card) for number, card in enumerate(cards)], class_='gallery',
            style=f'--card-width: {16 * max(1, width)}rem'),
        tag('p', 'No image fits the filter.', class_='empty', id='empty', hidden=True), _viewer()]


def gallery_assets() -> tuple[list[str], list[str]]:
    """Return styles and scripts of a page with a gallery."""
    return [gallery_style()], [read_asset('gallery.js')]


def gallery_style() -> str:
    """Return the CSS of cards, swatches and the viewer."""
    return read_asset('gallery.css')


def swatch(color: Sequence[int]) -> Markup:
    """Create a small area in an RGB color."""
    red, green, blue = (int(value) for value in color)
    return tag('span', class_='swatch', style=f'background: rgb({red} {green} {blue})')


def group_button(number: int, content: Sequence[Content], **attributes: object) -> Markup:
    """Create a button that filters by a group."""
    return tag('button', content, attributes={'type': 'button', 'data-group': number}, **attributes)


def _controls(groups: Mapping[int, str], orders: Mapping[str, str], title: str) -> Markup:
    return tag(
        'div',
        tag('label', title, tag('select', tag('option', 'all', value=''), [
            tag('option', name, value=number) for number, name in groups.items()], id='filter')),
        tag('label', 'order', tag('select', [
            tag('option', name, value=key) for key, name in orders.items()], id='sort')),
        tag('label', 'name', tag('input', id='search', type='search', autocomplete='off')),
        tag('label', tag('input', id='plain', type='checkbox', autocomplete='off'),
            'plain images', class_='check'),
        tag('button', 'dark / light', id='theme', type='button'),
        tag('span', 'keys: j k next, Enter large, o plain', class_='soft keys'),
        tag('span', id='count', class_='count', aria_live='polite'), class_='controls')


def _card(order: int, card: Card) -> Markup:
    data = {f'data-{key}': value for key, value in card.values.items()}
    return tag(
        'article',
        tag('header', tag('h2', tag('a', card.title, href=f'#{card.id}',
                                    title='link to this image')), card.details),
        card.content,
        tag('div', [_figure(picture) for picture in card.pictures], class_='panels')
        if card.pictures else None,
        class_='card', id=card.id, attributes={
            **data, 'data-order': order, 'data-name': card.title,
            'data-groups': ' '.join(map(str, card.groups))})


def _figure(picture: Picture) -> Markup:
    image = tag('img', src=picture.small, alt=picture.alt, loading='lazy', decoding='async',
                width=picture.size[0], height=picture.size[1])
    data = {'data-panel': picture.name, 'data-small': address(picture.small),
            'data-plain': address(picture.plain) if picture.plain else None}
    return tag('figure', tag('a', image, href=picture.large, attributes=data),
               tag('figcaption', picture.caption) if picture.caption else tag('figcaption'))


def _viewer() -> Markup:
    def button(name: str, text: str, title: str) -> Markup:
        return tag('button', text, id=name, type='button', title=title)

    return tag(
        'dialog',
        tag('div', tag('b', id='position'),
            tag('span', 'keys: arrows, o, Esc', class_='soft keys'),
            button('before', '←', 'previous image (left arrow)'),
            button('after', '→', 'next image (right arrow)'),
            button('turn', 'next view', 'next view of this image (down arrow)'),
            button('overlay', 'overlay', 'overlay on or off (o)'),
            button('close', 'close', 'close (Esc)'), class_='bar'),
        tag('div', tag('img', id='large', alt=''), class_='stage'),
        tag('div', id='caption', class_='caption'), class_='viewer', id='viewer')
