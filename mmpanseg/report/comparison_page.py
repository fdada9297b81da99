"""The page of two models side by side, ``compare.html``."""
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from mmpanseg.pages.charts import percent
from mmpanseg.pages.gallery import Card, Picture, gallery, gallery_assets, swatch
from mmpanseg.pages.interval_chart import Interval, interval_chart
from mmpanseg.pages.page import Content, Markup, read_asset, table, tag, write_page
from mmpanseg.pages.svg import chart_style
from mmpanseg.report.bootstrap import LEVEL, Difference
from mmpanseg.report.comparison import (
    COMPARISON,
    Comparison,
    ImageComparison,
    SegmentChange,
    write_comparison,
)
from mmpanseg.report.page_figures import pixel_legend
from mmpanseg.report.page_words import KIND_WORDS, kind_css
from mmpanseg.report.records import PAGE, PICTURES, read_records
from mmpanseg.report.short_names import short_sources, without_folders
from mmpanseg.utils.atomic_files import result_file

COMPARE_PAGE = 'compare.html'
# folder for the pictures of B
OTHER_PICTURES = 'other'
# cards of the largest gains, and of the largest losses
CARDS = 100
# segments that a card lists for each side
_LISTED = 6
_BARS = 15
_ORDERS = {
    'order:up': 'largest difference', 'difference:down': 'A gains most',
    'difference:up': 'A loses most', 'won:down': 'most segments won',
    'lost:down': 'most segments lost', 'pqa:up': 'worst of A', 'pqb:up': 'worst of B'}
_GROUPS = {'all': '', 'things': ', things', 'stuff': ', stuff'}
_VARIANTS = {'all': 'PQ', 'boundary': 'Boundary PQ', 'small': 'PQ small', 'medium': 'PQ medium',
             'large': 'PQ large'}


def write_comparison_page(folder: Path, comparison: Comparison, folder_b: Path) -> Path:
    """Write ``compare.html`` and ``comparison.json``.

    Pictures of B on the page are copied to the folder, so that it can be moved as a whole.

    Args:
        folder: of A's report, which gets the page.
        comparison: result of :func:`compare`.
        folder_b: of B's report.

    Returns:
        path of the page.

    Raises:
        FileWriteError: a file cannot be written.
    """
    write_comparison(folder / COMPARISON, comparison)
    for path in (folder / OTHER_PICTURES).glob('*'):
        path.unlink()
    cards = [_card(folder, comparison, image, _copy_pictures(folder, folder_b, image))
             for image in largest_changes(comparison.images)]
    styles, scripts = gallery_assets()
    present = {label for card in cards for label in card.groups}
    names = {label: comparison.classes[label].name for label in sorted(
        present, key=lambda label: comparison.classes[label].name.lower())}
    body = [*_head(comparison), *_sections(comparison), tag(
        'section', tag('h2', 'Images'), tag('p', _gallery_note(comparison, cards), class_='soft'),
        pixel_legend(),
        gallery(cards, names, _ORDERS), id='images')]
    write_page(folder / COMPARE_PAGE, f'{comparison.title_a} against {comparison.title_b}', body,
               [chart_style(), *styles, read_asset('page.css', __file__), kind_css(),
                read_asset('comparison.css', __file__)], scripts)
    return folder / COMPARE_PAGE


def largest_changes(images: Sequence[ImageComparison], limit: int = CARDS
                    ) -> list[ImageComparison]:
    """Choose the images of the page: the largest gains and losses, by size of the difference.

    Images without a difference are chosen only if segments were won or lost.

    Args:
        images: all of them.
        limit: number of gains and of losses.
    """
    def size(image: ImageComparison) -> tuple[float, int]:
        return abs(image.difference or 0), len(image.won) + len(image.lost)

    changed = sorted((image for image in images if size(image) > (0, 0)), key=size, reverse=True)
    gains = [image for image in changed if (image.difference or 0) >= 0][:limit]
    losses = [image for image in changed if (image.difference or 0) < 0][:limit]
    return sorted((*gains, *losses), key=size, reverse=True)


def pictured_images(folder: Path) -> frozenset[int | str]:
    """Return the ids of the images that a report has pictures of, for the report of A.

    Args:
        folder: of B's report.
    """
    return frozenset(record.image_id for record in read_records(folder) if record.pictures)


def verdict(difference: Difference, names: tuple[str, str] = ('A', 'B')) -> str:
    """Say in a sentence or two what a difference of PQ means.

    Args:
        difference: of the whole set.
        names: of the two models.
    """
    points = 100 * difference.difference
    if difference.low == difference.high == 0:
        return 'No choice of the images gives a difference.'
    better, worse = names if points >= 0 else names[::-1]
    sure = difference.better if points >= 0 else 1 - difference.better
    text = (f'{better} is better by {abs(points):.2f} points of PQ, and in {percent(sure)} of '
            'random draws of the images.')
    if difference.low <= 0 <= difference.high:
        text += f' The interval contains 0: these images cannot show that {worse} is worse.'
    return text


def _head(comparison: Comparison) -> Iterator[Content]:
    title = tag('h1', _letter('A'), comparison.title_a, tag('span', ' against ', class_='soft'),
                _letter('B'), comparison.title_b)
    yield tag('header', tag('div', title, _source(comparison)), class_='top')
    yield [tag('p', without_folders(note), class_='note') for note in comparison.notes]
    links = {'figures': 'Difference', 'kinds': 'Kinds of errors', 'by-class': 'Classes',
             'images': 'Images'}
    yield tag('nav', [tag('a', title, href=f'#{name}') for name, title in links.items()],
              tag('a', 'Report of A', href=PAGE), class_='parts', aria_label='parts of this page')


def _source(comparison: Comparison) -> Markup:
    entries = []
    for letter, source in (('A', comparison.source_a), ('B', comparison.source_b)):
        names = short_sources(source)
        origin = names.get('checkpoint') or names.get('predictions')
        if origin:
            entries.append(tag('span', tag('i', letter), origin))
    entries.append(tag('span', tag('i', 'images'), f'{len(comparison.images):,}'))
    return tag('p', entries, class_='source')


def _letter(letter: str) -> Markup:
    return tag('b', letter, class_=f'letter letter-{letter.lower()}')


def _sections(comparison: Comparison) -> Iterator[Markup]:
    yield tag('section', tag('h2', 'Difference'), _tiles(comparison),
              tag('p', verdict(comparison.quality['all']['all']), class_='verdict'),
              tag('div', _quality_chart(comparison), class_='panel scroll'),
              tag('p', f'A − B in points of PQ on {len(comparison.images):,} images. The lines are '
                  f'{100 * LEVEL:.0f}% intervals of the paired bootstrap over images '
                  f'({comparison.samples:,} draws, seed {comparison.seed}); gray bars have 0 in '
                  'theirs. They say what other images could change, not other trainings.',
                  class_='soft'), id='figures')
    yield tag('section', tag('h2', 'Kinds of errors'), tag(
        'div', tag('div', tag('h3', 'Ground truth segments'), _kinds(comparison, 'gt'),
                   class_='panel'),
        tag('div', tag('h3', 'Predicted segments'), _kinds(comparison, 'pred'), class_='panel'),
        class_='columns'), _changes(comparison), id='kinds')
    yield tag('section', tag('h2', 'Classes'), _classes(comparison), id='by-class')


def _tiles(comparison: Comparison) -> Markup:
    groups = comparison.quality['all']
    whole = groups['all']
    won = sum(len(image.won) for image in comparison.images)
    lost = sum(len(image.lost) for image in comparison.images)
    gains = sum((image.difference or 0) > 0 for image in comparison.images)
    losses = sum((image.difference or 0) < 0 for image in comparison.images)

    # a difference whose interval contains 0 is neither good nor bad
    certain = whole.low > 0 or whole.high < 0

    def tile(name: str, number: str, note: str, tone: str | None = None) -> Markup:
        return tag('li', tag('span', name, class_='name'), tag('b', number, class_=tone),
                   tag('span', note, class_='soft'))

    return tag('ul', [
        tile('PQ of A', f'{100 * whole.a:.1f}', f'things {100 * groups["things"].a:.1f}, '
             f'stuff {100 * groups["stuff"].a:.1f}'),
        tile('PQ of B', f'{100 * whole.b:.1f}', f'things {100 * groups["things"].b:.1f}, '
             f'stuff {100 * groups["stuff"].b:.1f}'),
        tile('A − B', points(whole.difference), f'{100 * LEVEL:.0f}% interval '
             f'{points(whole.low)} to {points(whole.high)}',
             _tone(whole.difference) if certain else None),
        tile('images', f'{gains:,} : {losses:,}',
             f'better : worse with A, of {len(comparison.images):,}'),
        tile('segments', f'{won:,} : {lost:,}', 'won : lost, found by one model only')],
        class_='tiles')


def points(difference: float, digits: int = 2) -> str:
    """Write a difference of two values in 0..1 in points, with its sign."""
    text = f'{100 * difference:+.{digits}f}'
    return text.lstrip('+-') if not float(text) else text.replace('-', '−')


def _interval(name: str, difference: Difference) -> Interval:
    return Interval(
        name, 100 * difference.difference, 100 * difference.low, 100 * difference.high,
        f'{name}: A {100 * difference.a:.1f}, B {100 * difference.b:.1f}, '
        f'{points(difference.difference)} ({points(difference.low)} to {points(difference.high)}), '
        f'A better in {percent(difference.better)} of the draws')


def _quality_chart(comparison: Comparison) -> Markup:
    rows = [_interval(_VARIANTS.get(variant, variant) + suffix, groups[group])
            for variant, groups in comparison.quality.items()
            for group, suffix in _GROUPS.items() if groups[group].a or groups[group].b]
    whole = comparison.quality['all']['all']
    return interval_chart(rows or [_interval('PQ', whole)], 'differences of PQ with intervals')


def _kinds(comparison: Comparison, side: str) -> Markup:
    # more matches are good, more errors are not
    rows = []
    for kind, (a, b) in comparison.kinds[side].items():
        if kind == 'ignored':
            continue
        better = (a - b) * (1 if kind == 'matched' else -1)
        rows.append([tag('span', tag('span', class_=f'key mark-{kind}'), KIND_WORDS[kind].title),
                     f'{a:,}', f'{b:,}', tag('span', f'{a - b:+,}'.replace('-', '−') if a != b
                                             else '0', class_=_tone(better))])
    return table(['', 'A', 'B', 'A − B'], rows, numbers=(1, 2, 3), class_='wide')


def _changes(comparison: Comparison) -> Markup:
    columns = sorted({kind for row in comparison.changes.values() for kind in row},
                     key=list(KIND_WORDS).index)
    rows = [[KIND_WORDS[kind].title, *(
        tag('span', f'{row.get(column, 0):,}',
            class_='soft' if kind == column or not row.get(column) else None)
        for column in columns)] for kind, row in comparison.changes.items()]
    return tag('details', tag('summary', 'From kind to kind'), tag(
        'p', 'Ground truth segments: rows are what they are for A, columns for B.', class_='soft'),
        tag('div', table(['A \\ B', *(KIND_WORDS[column].title for column in columns)], rows,
                         numbers=range(1, len(columns) + 1)), class_='scroll'))


def _classes(comparison: Comparison) -> list[Content]:
    known = sorted(((entry, entry.pq) for entry in comparison.classes if entry.pq is not None),
                   key=lambda pair: -pair[1].difference)
    if not known:
        return [tag('p', 'No class occurs for both models.', class_='soft')]
    shown = known if len(known) <= 2 * _BARS else [*known[:_BARS], *known[-_BARS:]]
    rows = [[tag('span', swatch(entry.color), entry.name), entry.segments,
             f'{100 * pq.a:.1f}', f'{100 * pq.b:.1f}',
             tag('span', points(pq.difference, 1), class_=_tone(pq.difference)),
             f'{points(pq.low, 1)} to {points(pq.high, 1)}', percent(pq.better, 0),
             f'{entry.won:,}', f'{entry.lost:,}'] for entry, pq in known]
    return [
        tag('div', interval_chart([_interval(entry.name, pq) for entry, pq in shown],
                                  'differences of PQ by class'), class_='panel scroll'),
        tag('p', f'The {_BARS} largest gains and losses of {len(known)} classes.', class_='soft')
        if len(shown) < len(known) else None,
        tag('details', tag('summary', f'All {len(known)} classes'), tag('div', table(
            ['class', 'segments', 'PQ A', 'PQ B', 'A − B', f'{100 * LEVEL:.0f}% interval',
             'A better', 'won', 'lost'], rows, numbers=range(1, 9)), class_='scroll'))]


def _gallery_note(comparison: Comparison, cards: Sequence[Card]) -> str:
    changed = sum(bool(image.difference) or bool(image.won) or bool(image.lost)
                  for image in comparison.images)
    if not changed:
        return 'No image differs.'
    if len(cards) == changed:
        return f'All {changed:,} images that differ.'
    return (f'The largest gains and losses: {len(cards)} of {changed:,} images that differ. '
            f'All are in {COMPARISON}.')


def _card(folder: Path, comparison: Comparison, image: ImageComparison,
          of_b: dict[str, str]) -> Card:
    of_a = image.pictures_a
    both = {**of_b, **of_a}
    # two rows, so that errors are below the predictions
    panels = [('truth', 'ground truth', both, 'truth', ''),
              ('prediction-a', 'prediction', of_a, 'prediction', 'A'),
              ('prediction-b', 'prediction', of_b, 'prediction', 'B'),
              ('image', 'image', both, 'image', ''),
              ('errors-a', 'errors', of_a, 'errors', 'A'),
              ('errors-b', 'errors', of_b, 'errors', 'B')]
    pictures = [
        Picture(name, source[key], source.get(f'{key}_small', source[key]),
                _size(folder / source.get(f'{key}_small', source[key])),
                (_letter(letter) if letter else None, title,
                 tag('span', f', PQ {_pq(image.pq_a if letter == "A" else image.pq_b)}',
                     class_='soft') if letter else None), f'{title} {letter}'.strip(),
                '' if key == 'image' else both.get('image', ''))
        for name, title, source, key, letter in panels if key in source]
    details = tag(
        'span', tag('span', 'A ', _pq(image.pq_a)), tag('span', 'B ', _pq(image.pq_b)),
        tag('b', 'PQ ', points(image.difference, 1), class_=_tone(image.difference))
        if image.difference is not None else None, class_='facts')
    missing = [letter for letter, source in (('A', of_a), ('B', of_b))
               if 'prediction' not in source]
    content = [tag('p', f'The report of {" and ".join(missing)} has no pictures of this image; '
                   '--pictures all draws all of them.',
                   class_='soft') if missing else None,
               _segments(comparison, image.won, 'won', 'A has, B has not:'),
               _segments(comparison, image.lost, 'lost', 'B has, A has not:'),
               tag('p', f'Predicted segments without a match: {image.wrong_a} of A, '
                   f'{image.wrong_b} of B.', class_='soft')
               if image.wrong_a != image.wrong_b else None]
    values: dict[str, float] = {'won': len(image.won), 'lost': len(image.lost)}
    for key, value in (('difference', image.difference), ('pqa', image.pq_a), ('pqb', image.pq_b)):
        if value is not None:
            values[key] = round(value, 6)
    return Card(f'image-{image.number_a}', image.name, pictures, details, content,
                sorted({change.label for change in (*image.won, *image.lost)} or image.labels),
                values)


def _segments(comparison: Comparison, changes: Sequence[SegmentChange], kind: str, title: str
              ) -> Markup | None:
    if not changes:
        return None
    largest = sorted(changes, key=lambda change: -change.area)
    items = []
    for change in largest[:_LISTED]:
        other = change.kind_b if kind == 'won' else change.kind_a
        entry = comparison.classes[change.label]
        letter = 'B' if kind == 'won' else 'A'
        items.append(tag('li', swatch(entry.color), tag('b', entry.name), ' ',
                         tag('span', f'{letter}: {change.text or KIND_WORDS[other].title}',
                             class_='soft')))
    if len(largest) > _LISTED:
        items.append(tag('li', f'and {len(largest) - _LISTED} smaller ones', class_='soft'))
    return tag('div', tag('p', title, class_='turned'), tag('ul', items), class_=f'turns {kind}')


def _pq(value: float | None) -> str:
    return '–' if value is None else f'{100 * value:.1f}'


def _tone(difference: float | None) -> str:
    """Return the class of the style for what is better, worse, or equal for A."""
    if difference is None or abs(difference) < 5e-4:
        return 'soft'
    return 'gain' if difference > 0 else 'loss'


def _size(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def _copy_pictures(folder: Path, folder_b: Path, image: ImageComparison) -> dict[str, str]:
    """Copy the pictures of B, and return their addresses in the folder of A."""
    copied = {}
    for key, address in image.pictures_b.items():
        # the image and the ground truth are those of A
        if key.removesuffix('_small') in ('image', 'truth') and key in image.pictures_a:
            continue
        source = folder_b / address
        if Path(address).parent != Path(PICTURES) or not source.is_file():
            continue
        name = f'{OTHER_PICTURES}/{source.name}'
        with result_file(folder / name) as part:
            shutil.copyfile(source, part)
        copied[key] = name
    return copied

