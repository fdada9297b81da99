"""Browses a data set: selects images, draws them, writes contact sheets and the page."""
import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config

from mmpanseg.browse.browse_page import Heading, page_body
from mmpanseg.browse.cards import PICTURES, CardOptions, ImageCard, draw_card, load_image
from mmpanseg.browse.contact_sheet import Cell, write_sheets
from mmpanseg.browse.selection import Selection, by_index, labels_of, select
from mmpanseg.browse.sources import (
    Classes,
    Place,
    build_dataset,
    classes_of,
    distinct_places,
    locate,
)
from mmpanseg.engine.command_line import UsageError
from mmpanseg.pages.gallery import gallery_assets
from mmpanseg.pages.own_folder import OwnFiles, open_folder
from mmpanseg.pages.page import write_page
from mmpanseg.utils import strict_json
from mmpanseg.utils.atomic_files import result_file

PAGE, RECORD = 'index.html', 'browse.json'
_OWN_FILES = OwnFiles(
    'browse', RECORD, (re.compile(re.escape(PAGE)), re.compile(r'contact_sheet(_\d+)?\.png')),
    {PICTURES: re.compile(r'\d{6,}_(original|draw\d+)(_plain|_small)?\.jpg')})


@dataclass(frozen=True)
class BrowseOptions:
    """What to browse.

    Args:
        out: folder to write.
        split: ``train``, ``val`` or ``test``.
        classes: names; only images with a segment of one of them. Empty: all images.
        worst: one of :data:`mmpanseg.browse.selection.WORST`; None: random images.
        num: number of images.
        seed: of the selection and of the augmentation.
        indices: of the images in the loader's data set, in place of a selection.
        images: their ids or file names, in place of a selection.
        draws: samples of the loader for each image; 0: the original only.
        channels: one or three channels to draw; empty: see
            :func:`mmpanseg.browse.display.choose_tones`.
        max_side: longest side of pictures in pixels.
    """

    out: Path
    split: str = 'train'
    classes: tuple[str, ...] = ()
    worst: str | None = None
    num: int = 24
    seed: int = 0
    indices: tuple[int, ...] = ()
    images: tuple[str, ...] = ()
    draws: int = 1
    channels: tuple[int, ...] = ()
    max_side: int = 1280


class Browsed(NamedTuple):
    """What a run wrote.

    Attributes:
        page: path of the page.
        sheets: names of the contact sheets beside it.
        cards: the images.
        selection: how they were selected.
    """

    page: Path
    sheets: list[str]
    cards: list[ImageCard]
    selection: Selection


def browse(cfg: Config, options: BrowseOptions, name: str = 'config',
           progress: Callable[[str, int, int], None] = lambda what, done, total: None) -> Browsed:
    """Browse a data set.

    The folder gets ``index.html``, contact sheets, ``images/`` and ``browse.json``, the numbers of
    the page. The same options give the same pictures.

    Args:
        cfg: the config.
        options: see :class:`BrowseOptions`.
        name: of the config, for titles.
        progress: called with what is done, the number of images that are done, and their total.

    Raises:
        UsageError: an option does not fit the config or its data.
        ForeignFilesError: the folder holds files of others.
        FileWriteError: the folder cannot be written.
    """
    dataset = build_dataset(cfg, options.split)
    classes = classes_of(dataset)
    labels = labels_of(classes, options.classes)
    places = distinct_places(dataset)
    if options.indices or options.images:
        if options.classes or options.worst:
            raise UsageError('--index and --image name the images themselves: leave out --class '
                             'and --worst')
        selection = by_index(places, lambda index: locate(dataset, index), len(dataset),
                             options.indices, options.images)
    else:
        selection = select(places, labels, options.worst, options.num, options.seed, progress)
    open_folder(options.out, _OWN_FILES)
    how = CardOptions(options.out, options.draws, options.seed, options.channels,
                      options.max_side)
    cards = []
    for card in _make_cards(dataset, selection.places, classes, how):
        cards.append(card)
        progress('images', len(cards), len(selection.places))
    sheets = write_sheets(options.out, [_cell(options.out, card) for card in cards])
    heading = Heading(f'{name}, {options.split} split', _facts(options, selection, len(dataset)),
                      _notes(selection, cards), sheets)
    styles, scripts = gallery_assets()
    write_page(options.out / PAGE, heading.title, page_body(cards, classes, heading), styles,
               scripts)
    record = _record(name, options, selection, classes, cards)
    with result_file(options.out / RECORD) as part:
        part.write_text(strict_json.dumps(record, indent=1) + '\n', encoding='utf-8')
    return Browsed(options.out / PAGE, sheets, cards, selection)


def _make_cards(dataset: Any, places: Sequence[Place], classes: Classes,
                options: CardOptions) -> Iterator[ImageCard]:
    """Load images one after the other, and draw them in threads, a few at a time."""
    workers = min(8, os.cpu_count() or 1)
    waiting: deque[Future[ImageCard]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for place in places:
            # loading uses generators of the process, which threads would share
            loaded = load_image(dataset, place, classes, options)
            waiting.append(pool.submit(draw_card, loaded, classes, options))
            del loaded
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _cell(folder: Path, card: ImageCard) -> Cell:
    return Cell(card.name, [folder / PICTURES / panel.small for panel in card.panels],
                ' '.join(card.errors))


def _facts(options: BrowseOptions, selection: Selection, length: int) -> list[str]:
    """Describe how the images were selected."""
    count = len(selection.places)
    facts = [f'{count} of {selection.num_images} images']
    if length != selection.num_images:
        facts.append(f'{length} samples in an epoch')
    if options.indices or options.images:
        facts.append('chosen by index or name')
    else:
        facts.append(f'the worst by {options.worst}' if options.worst else 'random')
    if options.classes:
        facts.append(f'with {" or ".join(options.classes)}')
    facts.append('without augmentation' if not options.draws else
                 f'{options.draws} sample{"" if options.draws == 1 else "s"} of the loader each')
    facts.append(f'seed {options.seed}')
    if options.channels:
        facts.append(f'channels {", ".join(map(str, options.channels))}')
    return facts


def _notes(selection: Selection, cards: list[ImageCard]) -> list[str]:
    notes = []
    failed = sum(bool(card.errors) for card in cards)
    if failed:
        notes.append(f'{failed} of these images cannot be read completely; their cards say why.')
    if selection.num_unreadable:
        notes.append(f'{selection.num_unreadable} images of the split were left out of the '
                     'selection: their annotations cannot be read.')
    return notes


def _record(name: str, options: BrowseOptions, selection: Selection, classes: Classes,
            cards: list[ImageCard]) -> dict:
    """Numbers of a run in JSON's types."""
    return dict(
        config=name, split=options.split, seed=options.seed, worst=options.worst,
        classes=list(classes.names), num_images=selection.num_images,
        num_unreadable=selection.num_unreadable,
        images=[dict(
            index=card.index, id=card.image_id, name=card.name, errors=card.errors,
            views={panel.name: dict(
                panel.statistics.as_dict(), picture=f'{PICTURES}/{panel.large}',
                transforms=panel.parameters, note=panel.note) for panel in card.panels})
            for card in cards])
