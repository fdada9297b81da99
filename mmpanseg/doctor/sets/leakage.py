"""Images that are in training and in validation, or twice in one of them."""
import os.path as osp
from collections.abc import Iterator, Sequence

import numpy as np

from mmpanseg.doctor.problem import Problem, Severity, problem
from mmpanseg.doctor.sets.statistics import SeenImage, SourceStatistics
from mmpanseg.doctor.sets.whole_set import Role
from mmpanseg.doctor.source import ImageRecord, same_data

# Bits in which hashes of look-alikes may differ, fewer than there are bands. Of 128 images of COCO,
# the closest two differ in 18; an image of lower quality, half the size or other brightness differs
# from itself in at most 8, nearly always in at most 6, and stored again in at most 2.
DISTANCE, STORED_AGAIN = 6, 2
_BANDS, _BITS = 8, 8
_ONES = np.array([value.bit_count() for value in range(1 << 16)], np.uint8)


def check_leakage(train: Role, other: Role, fast: bool) -> Iterator[Problem]:
    """Find images of training in another role.

    Args:
        train: training.
        other: validation or test.
        fast: without bytes and hashes.
    """
    for ours in train.sources:
        for theirs in other.sources:
            split = theirs.listing.source.split
            if same_data(ours.listing.source, theirs.listing.source):
                yield problem(
                    'PAN404', f'{ours.listing.source.split} and {split} read the same files',
                    split=split, file=theirs.listing.source.ann_file or None)
            elif fast:
                yield from _same_names(ours, theirs, frozenset(), frozenset())
            else:
                yield from _same_content(ours, theirs)


def check_twice(role: Role) -> Iterator[Problem]:
    """Find images that a role contains twice, by their bytes."""
    first: dict[str, tuple[str, SeenImage]] = {}
    for statistics in role.sources:
        split = statistics.listing.source.split
        for image in statistics.images:
            where = (split, image)
            known = first.setdefault(image.digest, where)
            # PAN011 reports images that list one file
            if known is not where and known[1].file_name != image.file_name or (
                    known[0] != split):
                yield problem('PAN405', f'its bytes are those of {known[1].file_name} '
                              f'({known[0]}, image {known[1].image_id!r})', split=split,
                              file=image.file_name, image_id=image.image_id)


def _same_content(ours: SourceStatistics, theirs: SourceStatistics) -> Iterator[Problem]:
    name, split = ours.listing.source.split, theirs.listing.source.split
    by_digest = {image.digest: image for image in reversed(ours.images)}
    same = set()
    for image in theirs.images:
        known = by_digest.get(image.digest)
        if known is not None:
            same.add(image.file_name)
            yield problem('PAN402', f'its bytes are those of {known.file_name} in {name} (image '
                          f'{known.image_id!r})', split=split, file=image.file_name,
                          image_id=image.image_id)
    other = frozenset(image.file_name for image in theirs.images) - same
    yield from _same_names(ours, theirs, frozenset(same), other)
    rest = [image for image in theirs.images if image.file_name not in same]
    for image, known, distance in near_pairs(rest, ours.images):
        yield problem('PAN403', f'it looks like {known.file_name} in {name} (image '
                      f'{known.image_id!r}); {distance} of 64 bits of their hashes differ',
                      split=split, file=image.file_name, image_id=image.image_id,
                      severity=Severity.WARNING if distance <= STORED_AGAIN else Severity.NOTE)


def _same_names(ours: SourceStatistics, theirs: SourceStatistics, same: frozenset[str],
                different: frozenset[str]) -> Iterator[Problem]:
    """Compare names, and paths.

    Args:
        ours: training.
        theirs: the other source.
        same: names of files whose bytes are known to be in training.
        different: names of files whose bytes are known to be in no file of training.
    """
    name, split = ours.listing.source.split, theirs.listing.source.split
    known: dict[str, ImageRecord] = {}
    for record in ours.listing.records:
        known.setdefault(osp.normpath(record.file_name), record)
    for record in theirs.listing.records:
        twin = known.get(osp.normpath(record.file_name))
        if twin is None or record.file_name in same:
            continue
        if osp.realpath(twin.path) == osp.realpath(record.path):
            yield problem('PAN402', f'{name} reads the same file', split=split,
                          file=record.file_name, image_id=record.image_id)
        elif record.file_name in different:
            yield problem('PAN401', f'{name} has a file of this name with another content',
                          split=split, file=record.file_name, image_id=record.image_id,
                          severity=Severity.NOTE, mend='none, if they are two images')
        else:
            yield problem('PAN401', f'{name} has a file of this name', split=split,
                          file=record.file_name, image_id=record.image_id)


def near_pairs(images: Sequence[SeenImage], others: Sequence[SeenImage]
               ) -> Iterator[tuple[SeenImage, SeenImage, int]]:
    """Find look-alikes by their hashes.

    Hashes that differ in fewer bits than there are bands agree in one band, so that only such
    pairs are compared.

    Args:
        images: the images.
        others: among which they are looked for.

    Yields:
        an image, the first one of the others with the smallest distance, and that distance, at
        most :data:`DISTANCE`.
    """
    hashed = [image for image in others if image.perceptual_hash is not None]
    hashes = np.array([image.perceptual_hash for image in hashed], np.uint64)
    parts = hashes.view(np.uint8).reshape(-1, _BANDS)
    order = np.argsort(parts, axis=0, kind='stable')
    values = np.arange((1 << _BITS) + 1)
    starts = [np.searchsorted(parts[order[:, band], band], values) for band in range(_BANDS)]
    for image in images:
        if image.perceptual_hash is None or not hashed:
            continue
        code = np.array([image.perceptual_hash], np.uint64)
        near = np.unique(np.concatenate([
            order[starts[band][value]:starts[band][value + 1], band]
            for band, value in enumerate(code.view(np.uint8).tolist())]))
        if near.size:
            distances = _ONES[(hashes[near] ^ code).view(np.uint16)].reshape(-1, 4).sum(1)
            best = distances.argmin()
            if distances[best] <= DISTANCE:
                yield image, hashed[near[best]], int(distances[best])
