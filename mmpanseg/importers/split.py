"""Which images are for training and which for validation."""
import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from mmpanseg.importers.source_image import SourceError, SourceImage

DEFAULT_VAL = 0.1
# names of splits in other software -> names here; a split of another name keeps its own
SPLIT_NAMES = {'train': 'train', 'training': 'train', 'val': 'val', 'valid': 'val',
               'validation': 'val', 'test': 'test', 'testing': 'test'}


class SplitOptions(NamedTuple):
    """How images are split.

    Args:
        val: share of validation images, 0 .. 1 (excluded); None: the splits of the source, else
            0.1.
        seed: changes which images are chosen.
        group: regular expression that is searched in the name of an image; images with the same
            first group (without groups: the same match) stay together. None: the groups of the
            source.
    """

    val: float | None = None
    seed: int = 0
    group: str | None = None


def standard_split(name: str) -> str:
    """Return ``train``, ``val`` or ``test`` for a usual name of a split (``valid``, ``train2017``).

    Another name is returned as it is, in lower case.
    """
    lower = name.lower()
    return SPLIT_NAMES.get(re.sub(r'[\s_-]*\d*$', '', lower), lower)


def split_images(images: Sequence[SourceImage],
                 options: SplitOptions) -> dict[str, list[SourceImage]]:
    """Divide images into splits.

    The splits of the source stay as they are. If it has no ``val`` or if ``options.val`` is given,
    validation images are chosen among those of ``train`` (with ``options.val`` also among those of
    ``val``): groups are ordered by a hash of the seed and their name, and the first ones are taken
    until the share is reached. Which side a group is on changes little when images are added.

    Args:
        images: all images.
        options: share, seed and groups.

    Returns:
        images by split, ``train`` first, each sorted by name. A split without images is left out.

    Raises:
        SourceError: the share is out of range, ``group`` is no regular expression or is not found
            in the name of an image, or the images form a single group.
    """
    if options.val is not None and not 0 <= options.val < 1:
        raise SourceError(f'--val {options.val} must be at least 0 and below 1: the share of '
                          'validation images')
    splits: dict[str, list[SourceImage]] = defaultdict(list)
    for image in sorted(images, key=lambda image: image.name):
        splits[standard_split(image.split or 'train')].append(image)
    if options.val is not None or 'val' not in splits:
        pool = splits.pop('train', [])
        if options.val is not None:
            pool = sorted(pool + splits.pop('val', []), key=lambda image: image.name)
        share = DEFAULT_VAL if options.val is None else options.val
        splits['train'], splits['val'] = _divide(pool, share, options)
    order = [*(name for name in ('train', 'val') if name in splits),
             *sorted(set(splits) - {'train', 'val'})]
    return {name: splits[name] for name in order if splits[name]}


def _divide(images: list[SourceImage], share: float,
            options: SplitOptions) -> tuple[list[SourceImage], list[SourceImage]]:
    """Divide the images of one pool into those for training and those for validation."""
    wanted = round(share * len(images))
    if share and len(images) > 1:
        wanted = min(max(wanted, 1), len(images) - 1)
    groups: dict[str, list[SourceImage]] = defaultdict(list)
    pattern = _compile(options.group)
    for image in images:
        groups[_group(image, pattern)].append(image)
    if wanted and len(groups) == 1:
        raise SourceError(f'all {len(images)} images are of the group {next(iter(groups))!r}, so '
                          'that none is left for validation; give --val 0 or another --group')
    order = sorted(groups, key=lambda name: hashlib.sha256(
        f'{options.seed}:{name}'.encode('utf-8', 'replace')).digest())
    chosen: list[SourceImage] = []
    for name in order[:-1]:
        # a group that overshoots by more than what is missing is left to training
        if len(chosen) + len(groups[name]) - wanted <= wanted - len(chosen):
            chosen += groups[name]
    if wanted and not chosen:
        chosen = min((groups[name] for name in order), key=len)
    names = {image.name for image in chosen}
    return ([image for image in images if image.name not in names],
            [image for image in images if image.name in names])


def _compile(expression: str | None) -> re.Pattern | None:
    try:
        return None if expression is None else re.compile(expression)
    except re.error as error:
        raise SourceError(f'--group {expression} is no regular expression: {error}') from error


def _group(image: SourceImage, pattern: re.Pattern | None) -> str:
    if pattern is None:
        return image.group or image.name
    match = pattern.search(image.name)
    if match is None:
        raise SourceError(f'--group {pattern.pattern} is not found in the name {image.name}; every '
                          'image must match it')
    return (match[1] or '') if pattern.groups else match[0]


def known_split(name: str) -> str:
    """Return the split that a folder or subset is named after; '' if its name is no usual one."""
    split = standard_split(name)
    return split if split in SPLIT_NAMES.values() else ''
