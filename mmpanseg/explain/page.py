"""The page of an explanation: the list of all segments, and the sheet of each explained one."""
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mmpanseg.explain.explanation import Explanation, LayerView, SegmentExplanation
from mmpanseg.explain.words import facts, percent, what_became_of_it
from mmpanseg.pages.gallery import swatch
from mmpanseg.pages.page import Content, Markup, read_asset, table, tag
from mmpanseg.visualization.color import Color


class SegmentFiles(NamedTuple):
    """The pictures of a segment, beside the page.

    Attributes:
        sheet: name of the sheet.
        size: (width, height) of the sheet.
        heads: name of the picture of all heads; None without one.
    """

    sheet: str
    size: tuple[int, int]
    heads: str | None


def page_style() -> str:
    """Return the CSS of the page."""
    return read_asset('explain.css', __file__)


def page_body(explanation: Explanation, files: Sequence[SegmentFiles],
              colors: Mapping[int, Color], overview: str) -> list[Markup]:
    """Create the content of the page.

    Args:
        explanation: of an image.
        files: pictures of the explained segments.
        colors: number of a segment -> color.
        overview: name of the picture of all segments.
    """
    height, width = explanation.result.size
    count = len(explanation.listed)
    return [
        tag('header', tag('h1', Path(explanation.name).name),
            tag('p', f'{width} x {height} pixels · {count} segment{"" if count == 1 else "s"} · '
                f'{explanation.model}', class_='soft')),
        tag('div', tag('a', tag('img', src=overview, alt='all segments with their numbers'),
                       href=overview, class_='overview'),
            tag('div', _list(explanation, colors), class_='scroll'), class_='top'),
        *(_section(one, pictures, colors[one.segment.id])
          for one, pictures in zip(explanation.explained, files))]


def _list(explanation: Explanation, colors: Mapping[int, Color]) -> Markup:
    explained = {one.segment.id for one in explanation.explained}
    rows: list[Sequence[Content]] = []
    for listed in explanation.listed:
        segment = listed.segment
        name: Content = segment.name
        if segment.id in explained:
            name = tag('a', segment.name, href=f'#segment-{segment.id}')
        rows.append([segment.id, [swatch(colors[segment.id]), name],
                     '' if segment.score is None else f'{segment.score:.2f}',
                     f'{segment.area:,}', listed.query])
    return table(['segment', 'class', 'score', 'pixels', 'query'], rows, (0, 2, 3, 4))


def _section(one: SegmentExplanation, files: SegmentFiles, color: Color) -> Markup:
    width, height = files.size
    return tag(
        'section', tag('h2', swatch(color), one.title, tag('span', f' query {one.query}',
                                                           class_='soft')),
        tag('p', facts(one), class_='soft'), tag('p', what_became_of_it(one)),
        [tag('p', sentence) for sentence in _sentences(one)],
        tag('a', tag('img', src=files.sheet, width=width, height=height, loading='lazy',
                     alt=f'sheet of segment {one.segment.id}'), href=files.sheet),
        tag('p', tag('a', 'attention of every head in every layer', href=files.heads))
        if files.heads else None,
        id=f'segment-{one.segment.id}', class_='segment')


def _sentences(one: SegmentExplanation) -> list[str]:
    """What the numbers of the layers say."""
    found = []
    label, name = one.segment.label, one.segment.name
    scored = [layer for layer in one.layers if layer.scores is not None]
    if scored:
        since = _lasting(scored, [max(layer.scores or ()) == (layer.scores or ())[label]
                                  for layer in scored])
        found.append(f'Its best class is {name} from {since} on.' if since else
                     f'In the last layer, {name} is not its best class.')
    masked = [layer for layer in one.layers if layer.iou is not None]
    since = _lasting(masked, [(layer.iou or 0) >= 0.9 for layer in masked])
    if since:
        found.append(f'Its mask has IoU 0.9 or more with the final mask from {since} on.')
    looking = [layer for layer in one.layers if layer.looks]
    if looking:
        shares = [percent(sum(sum(look.inside) / len(look.inside) for look in layer.looks))
                  for layer in (looking[0], looking[-1])]
        found.append(f'Attention inside the final mask: {shares[0]} in {looking[0].title}, '
                     f'{shares[1]} in {looking[-1].title}.')
    return found


def _lasting(layers: Sequence[LayerView], holds: Sequence[bool]) -> str:
    """The first layer from which on something holds to the end; '' if it does not at the end."""
    since = ''
    for layer, there in zip(layers, holds):
        since = (since or layer.title) if there else ''
    return since if not since or since[-1].isdecimal() else f'the {since}'
