"""Reads, transforms and draws one image: everything that its card shows."""
import os.path as osp
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2

from mmpanseg.browse.display import Tones, choose_tones, shrink, stretch_limits, to_rgb
from mmpanseg.browse.drawing import draw_view
from mmpanseg.browse.parameters import describe_steps
from mmpanseg.browse.recording import Recorder
from mmpanseg.browse.sources import Classes, Place
from mmpanseg.browse.statistics import ViewStatistics, measure
from mmpanseg.browse.views import View, read_annotation, read_image, shown_channels, view_of_sample
from mmpanseg.engine.command_line import UsageError, one_line
from mmpanseg.engine.random_states import PrivateGenerators
from mmpanseg.pages.picture_files import SMALL_SIDE, write_jpeg
from mmpanseg.structures.image_file import file_header

# folder of the pictures
PICTURES = 'images'
# first number of the keys of random generators, another one than in training
_KEY = 2


@dataclass(frozen=True)
class Panel:
    """A view of an image.

    Args:
        name: ``original``, ``draw1``, ``draw2``, ...
        statistics: numbers about it.
        large: name of the picture with overlay in the folder of pictures.
        small: name of a smaller one.
        plain: name of the one without overlay.
        small_size: (width, height) of the smaller one.
        parameters: what the transforms did.
        note: what is special.
    """

    name: str
    statistics: ViewStatistics
    large: str
    small: str
    plain: str
    small_size: tuple[int, int]
    parameters: list[str] = field(default_factory=list)
    note: str = ''


@dataclass(frozen=True)
class ImageCard:
    """An image with its views.

    Args:
        index: in the loader's data set.
        image_id: of the data set.
        name: of the file, relative to the folder of images.
        panels: the original, and what the loader yields.
        errors: one line for each thing that could not be read.
    """

    index: int
    image_id: Any
    name: str
    panels: list[Panel]
    errors: list[str]

    def panel(self, name: str) -> Panel | None:
        """Return the view of a name; None without it."""
        return next((panel for panel in self.panels if panel.name == name), None)

    def draws(self) -> list[Panel]:
        """Return what the loader yields."""
        return [panel for panel in self.panels if panel.name != 'original']


@dataclass(frozen=True)
class CardOptions:
    """How cards are made.

    Args:
        folder: of the run.
        draws: samples of the loader for each image.
        seed: of the augmentation.
        channels: to draw, see :func:`mmpanseg.browse.display.choose_tones`.
        max_side: longest side of pictures in pixels.
    """

    folder: Path
    draws: int = 1
    seed: int = 0
    channels: tuple[int, ...] = ()
    max_side: int = 1280


class LoadedView(NamedTuple):
    """A view that is not drawn yet.

    Attributes:
        name: see :class:`Panel`.
        view: image and segments.
        tones: how the values of the image become colors.
        parameters: see :class:`Panel`.
        note: see :class:`Panel`.
    """

    name: str
    view: View
    tones: Tones
    parameters: list[str]
    note: str


class LoadedImage(NamedTuple):
    """An image that is not drawn yet.

    Attributes:
        card: without panels.
        views: the original, and what the loader yields.
    """

    card: ImageCard
    views: list[LoadedView]


def load_image(dataset: Any, place: Place, classes: Classes, options: CardOptions) -> LoadedImage:
    """Read an image and what the loader yields of it. Uses the generators of the process.

    Args:
        dataset: data set of the loader.
        place: the image in it.
        classes: of the data set.
        options: see :class:`CardOptions`.

    Raises:
        UsageError: the image has no such channel as the options name.
    """
    info = place.dataset.get_data_info(place.inner)
    errors: list[str] = []
    views: list[LoadedView] = []
    tones = None
    with _collected(errors):
        results = read_image(place.dataset, place.inner)
        image = results['img']
        tones = choose_tones(image, options.channels or shown_channels(place.dataset, image),
                             _is_8_bit(results))
        view = View(image)
        with _collected(errors):
            annotation = read_annotation(place.dataset, results)
            view = View(image, annotation.segments, annotation.crowds)
        views.append(LoadedView('original', view, tones, [], ''))
    for number in range(1, options.draws + 1):
        with _collected(errors):
            views.append(_load_draw(dataset, place, number, tones, classes, options))
    card = ImageCard(place.number, info.get('img_id'), _name(place, info), [],
                     list(dict.fromkeys(errors)))
    return LoadedImage(card, views)


@contextmanager
def _collected(errors: list[str]) -> Iterator[None]:
    """Add the error of a loader to a list, as one line: loaders raise errors of many types."""
    try:
        yield
    except UsageError:
        raise
    except FileNotFoundError as error:
        missing = f'{error.filename} does not exist' if error.filename else one_line(error)
        errors.append(missing)
    except Exception as error:
        errors.append(one_line(error))


def draw_card(loaded: LoadedImage, classes: Classes, options: CardOptions) -> ImageCard:
    """Draw an image and write its pictures; threads may do it for several images.

    Args:
        loaded: the image.
        classes: of the data set.
        options: see :class:`CardOptions`.

    Raises:
        FileWriteError: a picture cannot be written.
    """
    panels = []
    errors = list(loaded.card.errors)
    for view in loaded.views:
        with _collected_except_writing(errors):
            panels.append(_draw_panel(loaded.card.index, view, classes, options))
    return replace(loaded.card, panels=panels, errors=list(dict.fromkeys(errors)))


@contextmanager
def _collected_except_writing(errors: list[str]) -> Iterator[None]:
    """Collect errors of views that cannot be drawn, but none of the disk."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        errors.append(one_line(error))


def _name(place: Place, info: dict) -> str:
    """Return the path of an image relative to the folder of images."""
    path = str(info.get('img_path') or info.get('img_id') or place.number)
    prefix = getattr(place.dataset, 'data_prefix', None) or {}
    folder = prefix.get('img') or prefix.get('img_path') or ''
    if folder and osp.normpath(path).startswith(osp.normpath(folder) + osp.sep):
        return osp.relpath(path, folder).replace(osp.sep, '/')
    return osp.basename(path)


def _is_8_bit(results: dict) -> bool:
    """Check whether the file of a float image has 8 bits, so that its range is known."""
    if results['img'].dtype.kind != 'f':
        return False
    header = file_header(results.get('img_path'))
    return header is not None and header.bits <= 8


def _load_draw(dataset: Any, place: Place, number: int, tones: Tones | None, classes: Classes,
               options: CardOptions) -> LoadedView:
    """Load an image as training does, with random numbers of its own."""
    recorder = Recorder()
    with (PrivateGenerators(_KEY, options.seed, place.number, number).active(),
          recorder.active()):
        packed = dataset[place.number]
    view = view_of_sample(packed, classes)
    path = packed['data_samples'].metainfo.get('img_path')
    expected = place.dataset.get_data_info(place.inner).get('img_path')
    note = ''
    if path is not None and expected is not None and str(path) != str(expected):
        note = f'the pipeline rejected this image and loaded {osp.basename(str(path))}'
    steps = recorder.steps(path if path is not None else expected)
    if tones is None:
        tones = choose_tones(view.image, options.channels or shown_channels(
            place.dataset, view.image))
    if any(type(step.transform).__name__ == 'Normalize' for step in steps):
        tones = tones._replace(limits=stretch_limits(view.image, tones.channels))
    return LoadedView(f'draw{number}', view, tones, describe_steps(steps), note)


def _draw_panel(index: int, loaded: LoadedView, classes: Classes, options: CardOptions) -> Panel:
    view = loaded.view
    picture = to_rgb(view.image, loaded.tones)
    drawn = draw_view(view, picture, classes, options.max_side)
    # drawn on its own: names of the large picture would be too small to read
    small = draw_view(view, picture, classes, min(SMALL_SIDE, options.max_side))
    bare = cv2.resize(shrink(picture, options.max_side), (drawn.shape[1], drawn.shape[0]),
                      interpolation=cv2.INTER_CUBIC)
    stem = f'{index:06d}_{loaded.name}'
    files = dict(large=f'{stem}.jpg', small=f'{stem}_small.jpg', plain=f'{stem}_plain.jpg')
    for kind, content in (('large', drawn), ('small', small), ('plain', bare)):
        write_jpeg(options.folder / PICTURES / files[kind], content)
    statistics = measure(view.segments, view.image.shape[:2], view.crowds)
    return Panel(loaded.name, statistics, small_size=(small.shape[1], small.shape[0]),
                 parameters=loaded.parameters, note=loaded.note, **files)


def statistics_by_class(cards: list[ImageCard]) -> Iterator[tuple[int, dict[str, float]]]:
    """Sum the numbers of the cards by class.

    Yields:
        label, and dict(images, original, drawn, pixels, share): images with the class, its segments
        in the originals, its segments in a draw (mean), its pixels and their share in the
        originals.
    """
    totals: dict[int, dict[str, float]] = {}
    num_pixels = 0
    for card in cards:
        original = card.panel('original')
        draws = card.draws()
        if original is not None:
            height, width = original.statistics.map_size
            num_pixels += height * width
            for label, count in original.statistics.segments.items():
                total = _total(totals, label)
                total['images'] += 1
                total['original'] += count
                total['pixels'] += original.statistics.pixels[label]
        for panel in draws:
            for label, count in panel.statistics.segments.items():
                _total(totals, label)['drawn'] += count / len(draws)
    for label in sorted(totals):
        yield label, dict(totals[label], share=totals[label]['pixels'] / max(1, num_pixels))


def _total(totals: dict[int, dict[str, float]], label: int) -> dict[str, float]:
    return totals.setdefault(label, dict(images=0, original=0, drawn=0.0, pixels=0))
