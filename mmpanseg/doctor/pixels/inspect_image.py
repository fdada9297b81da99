"""Checks of one image and its annotation, in a worker process."""
import warnings
from typing import Any, NamedTuple

from mmpanseg.doctor.pixels.image_checks import ImageFacts, check_image, digest_of, read_file
from mmpanseg.doctor.pixels.image_problems import ImageProblems
from mmpanseg.doctor.pixels.label_checks import check_labels
from mmpanseg.doctor.pixels.map_files import read_ids, read_labels
from mmpanseg.doctor.pixels.object_checks import check_objects
from mmpanseg.doctor.pixels.segment_checks import MapStatistics, check_segments
from mmpanseg.doctor.pixels.size_checks import (
    check_listed_size,
    check_map_size,
    check_object_orientation,
)
from mmpanseg.doctor.problem import Problem
from mmpanseg.doctor.source import ImageRecord, Options, Source


class ImageStatistics(NamedTuple):
    """What the checks of the whole set need of an image.

    Attributes:
        split: split of its source.
        image_id: id.
        file_name: name as the source lists it.
        size: (H, W) of the upright image; None if it cannot be read.
        channels: number of channels of the file; 0 if it cannot be read.
        depth: bits of a sample; 0 if it cannot be read.
        digest: digest of the bytes of the image file; '' if it cannot be read.
        perceptual_hash: 64 bits that look-alikes share nearly all of; None if it cannot be read,
            or without enough contrast.
        pixels: category id, or label of semantic data -> number of pixels.
        segments: category id, or label of semantic data -> number of segments, without crowds.
        void_share: share of void pixels, 0 .. 1; None without a map.
        crowd_share: share of crowd pixels, 0 .. 1; None without a map.
        num_segments: number of segments that training uses.
    """

    split: str
    image_id: int | str
    file_name: str
    size: tuple[int, int] | None = None
    channels: int = 0
    depth: int = 0
    digest: str = ''
    perceptual_hash: int | None = None
    pixels: dict[Any, int] = {}
    segments: dict[Any, int] = {}
    void_share: float | None = None
    crowd_share: float | None = None
    num_segments: int = 0


class ImageFindings(NamedTuple):
    """Problems and statistics of one image."""

    problems: list[Problem]
    statistics: ImageStatistics | None = None


def inspect_image(record: ImageRecord, source: Source, options: Options) -> ImageFindings:
    """Check one image with its annotation; never raises for any content.

    Args:
        record: the image.
        source: its source.
        options: limits.
    """
    # Pillow warns of oddities of files, between the rows of a progress bar
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return _inspect(record, source, options)


def _inspect(record: ImageRecord, source: Source, options: Options) -> ImageFindings:
    found = ImageProblems(record, source)
    data = read_file(record.path, found, is_map=False)
    digest = '' if data is None else digest_of(data)
    facts = None if data is None else check_image(data, found, options.max_pixels)
    fits = facts is None or check_listed_size(facts, found)
    content = MapStatistics()
    if source.kind == 'instance':
        size = _size_of_objects(record, facts)
        if facts is not None and fits:
            check_object_orientation(facts, found)
        if size is not None:
            content = check_objects(size, found)
    elif record.annotation_path is not None:
        content = _check_map(record.annotation_path, facts, found)
    statistics = ImageStatistics(source.split, record.image_id, record.file_name, digest=digest,
                                 **content._asdict())
    if facts is not None:
        statistics = statistics._replace(
            size=facts.upright, channels=facts.channels, depth=facts.depth,
            perceptual_hash=facts.perceptual_hash)
    return ImageFindings(found.problems, statistics)


def _check_map(path: str, facts: ImageFacts | None, found: ImageProblems) -> MapStatistics:
    semantic = found.source.kind == 'semantic'
    values = read_labels(path, found) if semantic else read_ids(path, found)
    if values is None:
        return MapStatistics()
    fits = check_map_size((values.shape[0], values.shape[1]), facts, found)
    return check_labels(values, found) if semantic else check_segments(values, found, fits)


def _size_of_objects(record: ImageRecord, facts: ImageFacts | None
                     ) -> tuple[int, int] | None:
    """(H, W) to which the objects of an instance JSON refer; None if it is unknown."""
    if record.height is not None and record.width is not None:
        return record.height, record.width
    return None if facts is None else facts.stored
