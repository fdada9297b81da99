"""Selects images of a data set: by index or name, by class, the worst ones, or at random."""
import difflib
import os
import os.path as osp
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from mmpanseg.browse.sources import Classes, Place, kind_of
from mmpanseg.browse.statistics import measure
from mmpanseg.browse.views import read_annotation
from mmpanseg.engine.command_line import UsageError

MOST_SEGMENTS, SMALLEST, MOST_VOID = 'most-segments', 'smallest', 'most-void'
WORST = (MOST_SEGMENTS, SMALLEST, MOST_VOID)
# images that are measured at a time
_BATCH = 256

Progress = Callable[[str, int, int], None]


class Measured(NamedTuple):
    """Numbers about an image of which some are selected.

    Attributes:
        labels: of its segments, without crowds.
        num_segments: their number.
        smallest: pixels of the smallest one; None without one, or where pixels are not counted.
        void_share: share of the pixels without a segment or with a crowd; None where pixels are
            not counted.
    """

    labels: frozenset[int]
    num_segments: int
    smallest: int | None = None
    void_share: float | None = None


class Selection(NamedTuple):
    """Selected images.

    Attributes:
        places: the images, in the order in which they are shown.
        num_images: images of the data set.
        num_unreadable: images that were not selected because their annotation cannot be read.
    """

    places: list[Place]
    num_images: int
    num_unreadable: int = 0


def by_index(places: Sequence[Place], locate: Callable[[int], Place], length: int,
             indices: Iterable[int], names: Iterable[str]) -> Selection:
    """Select images by index in the loader's data set, by image id or by file name.

    Args:
        places: all images.
        locate: index -> its image.
        length: number of indices.
        indices: from 0.
        names: ids, file names, with or without folder and ending.

    Raises:
        UsageError: there is no such image; the text has near names.
    """
    chosen = []
    for index in indices:
        if not 0 <= index < length:
            raise UsageError(f'--index {index}: the data set has {length} images, numbered '
                             f'0 .. {length - 1}')
        chosen.append(locate(index))
    wanted = list(names)
    if wanted:
        found = _find_names(places, wanted)
        chosen += [place for name in wanted for place in found[name]]
    distinct = {(id(place.dataset), place.inner): place for place in chosen}
    return Selection(list(distinct.values()), len(places))


def _find_names(places: Sequence[Place], wanted: Sequence[str]) -> dict[str, list[Place]]:
    found: dict[str, list[Place]] = {name: [] for name in wanted}
    with_slashes = {name: name.replace('\\', '/') for name in wanted}
    known: set[str] = set()
    for place in places:
        info = place.dataset.get_data_info(place.inner)
        path = str(info.get('img_path') or '').replace('\\', '/')
        name = osp.basename(path)
        known |= {name, str(info.get('img_id'))}
        for text, pattern in with_slashes.items():
            if (str(info.get('img_id')) == text or f'/{path}'.endswith(f'/{pattern}')
                    or osp.splitext(name)[0] == pattern):
                found[text].append(place)
    for name, hits in found.items():
        if not hits:
            near = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.6)
            raise UsageError(f'--image {name}: no image of the split has this id or file name' + (
                f'; near names are {", ".join(near)}' if near else ''))
    return found


def labels_of(classes: Classes, names: Iterable[str]) -> frozenset[int]:
    """Return the labels of class names.

    Raises:
        UsageError: there is no such class; the text has near names.
    """
    labels = set()
    for name in names:
        if name in classes.names:
            labels.add(classes.names.index(name))
            continue
        lower = {other.lower(): other for other in classes.names}
        near = [lower[other] for other in
                difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.5)]
        raise UsageError(f'--class {name}: the data set has no such class; ' + (
            f'near names are {", ".join(near)}' if near
            else f'its classes are {", ".join(classes.names[:12])}'
            f'{", ..." if len(classes.names) > 12 else ""}'))
    return frozenset(labels)


def select(places: Sequence[Place], labels: frozenset[int], worst: str | None, num: int,
           seed: int, progress: Progress = lambda what, done, total: None) -> Selection:
    """Select images at random, or the worst ones.

    Args:
        places: all images.
        labels: only images with a segment of one of these classes; empty: all images.
        worst: one of :data:`WORST`: the images with the most segments, with the smallest segment,
            or with the largest share of void; None: random images.
        num: number of images.
        seed: of the random order.
        progress: called with what is done, the number of images that are done, and their total.

    Raises:
        UsageError: no image has one of the classes.
    """
    if not labels and worst is None:
        order = np.random.default_rng(seed).permutation(len(places))[:num]
        return Selection([places[number] for number in sorted(order.tolist())], len(places))
    counts_pixels = worst in (SMALLEST, MOST_VOID)
    order = np.arange(len(places))
    if worst is None:
        order = np.random.default_rng(seed).permutation(len(places))
    hits: list[tuple[Any, Place]] = []
    num_unreadable = 0
    measured = _measure_all([places[number] for number in order], counts_pixels)
    for done, (place, found) in enumerate(measured, 1):
        progress('annotations', done, len(places))
        if found is None:
            num_unreadable += 1
        elif not labels or labels & found.labels:
            hits.append((_rank(found, worst), place))
            if worst is None and len(hits) == num:
                break
    if not hits:
        raise UsageError(
            'no image has a segment of these classes' if not num_unreadable else
            f'no image is left: the annotations of {num_unreadable} of {len(places)} cannot be '
            'read; choose images by --index to see why')
    if worst is None:
        chosen = sorted((place for _, place in hits), key=lambda place: place.number)
    else:
        hits.sort(key=lambda hit: (hit[0], hit[1].number))
        chosen = [place for _, place in hits[:num]]
    return Selection(chosen, len(places), num_unreadable)


def _rank(found: Measured, worst: str | None) -> float:
    """Return a number that is lower for worse images."""
    if worst == MOST_SEGMENTS:
        return -found.num_segments
    if worst == SMALLEST:
        return float('inf') if found.smallest is None else found.smallest
    return 0.0 if found.void_share is None else -found.void_share


def measure_annotation(place: Place, counts_pixels: bool = True) -> Measured:
    """Read the annotation of an image without its pixels.

    Args:
        place: the image.
        counts_pixels: False: number and labels of the segments suffice, which a JSON lists.

    Raises:
        Exception: the annotation cannot be read.
    """
    info = place.dataset.get_data_info(place.inner)
    kind = kind_of(place.dataset)
    if not counts_pixels and kind in ('panoptic', 'instance'):
        listed = info.get('instances')
        if listed is not None:
            labels = [item['bbox_label'] for item in listed if not item['ignore_flag']]
        else:
            labels = [item['category'] for item in info['segments_info']
                      if not item.get('iscrowd')]
        return Measured(frozenset(labels), len(labels))
    annotation = read_annotation(place.dataset, info)
    found = measure(annotation.segments, annotation.segments.shape, annotation.crowds)
    return Measured(frozenset(found.segments), found.num_segments, found.smallest,
                    found.void_share)


def _measure_all(places: Sequence[Place],
                 counts_pixels: bool) -> Iterator[tuple[Place, Measured | None]]:
    """Measure images in threads, in their order; None for annotations that cannot be read."""
    def one(place: Place) -> tuple[Place, Measured | None]:
        try:
            return place, measure_annotation(place, counts_pixels)
        except Exception:
            # readers raise errors of many types; the card of a chosen image shows them
            return place, None

    remaining = iter(places)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        while batch := list(islice(remaining, _BATCH)):
            yield from pool.map(one, batch)
