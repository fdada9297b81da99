"""Checks of several images together: classes, kinds of images, model."""
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mmpanseg.doctor.lists.categories import listed
from mmpanseg.doctor.problem import Problem, Severity, problem
from mmpanseg.doctor.sets.statistics import SourceStatistics
from mmpanseg.structures.image_channels import CHANNELS

# fewer segments are few, in a set of at least as many images
_FEW, _FEW_OF = 5, 50
# more absent classes, which are more than half, are one problem
_MANY = 8
# standard errors and ratio from which two shares of images differ, in sets of at least MIN_IMAGES
_ERRORS, _RATIO, _MIN_IMAGES = 4., 2., 20


class Role:
    """All sources of one role: training, validation or test.

    Args:
        name: 'train', 'val', 'test'.
        sources: statistics of its sources.

    Attributes:
        segments: name of a class -> number of segments.
        images_with: name of a class -> number of images.
        pixels: name of a class -> number of pixels.
        num_images: number of images.
    """

    def __init__(self, name: str, sources: Sequence[SourceStatistics]) -> None:
        self.name, self.sources = name, sources
        self.segments: Counter[str] = Counter()
        self.images_with: Counter[str] = Counter()
        self.pixels: Counter[str] = Counter()
        for source in sources:
            self.segments.update(source.segments)
            self.images_with.update(source.images_with)
            self.pixels.update(source.pixels)
        self.num_images = sum(source.listing.num_images for source in sources)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names by label of the first source."""
        return next((source.listing.classes for source in self.sources if source.listing.classes),
                    ())

    @property
    def knows_segments(self) -> bool:
        """Whether segments were counted: those of semantic data need pixels."""
        return bool(self.segments)


def roles_of(sources: Iterable[SourceStatistics]) -> dict[str, Role]:
    """Group sources by role."""
    by_role: dict[str, list[SourceStatistics]] = {}
    for source in sources:
        by_role.setdefault(source.listing.source.role, []).append(source)
    return {name: Role(name, members) for name, members in by_role.items()}


def check_classes(roles: dict[str, Role]) -> Iterator[Problem]:
    """Check classes of sources against each other, the model, and the segments."""
    first: tuple[str, tuple[str, ...]] | None = None
    for role in roles.values():
        for statistics in role.sources:
            listing = statistics.listing
            split, classes = listing.source.split, listing.classes
            if not classes:
                continue
            if first is None:
                first = split, classes
            elif classes != first[1]:
                yield problem('PAN412', _difference(first, classes), split=split,
                              file=listing.source.ann_file or None)
            expected = listing.source.num_classes
            if expected is not None and expected != len(classes):
                yield problem('PAN413', f'the model has {expected} classes, the data set '
                              f'{len(classes)}: {listed(classes)}', split=split,
                              file=listing.source.ann_file or None)
        if role.knows_segments:
            yield from _check_counts(role)


def _difference(first: tuple[str, tuple[str, ...]], classes: tuple[str, ...]) -> str:
    split, others = first
    missing = [name for name in others if name not in classes]
    more = [name for name in classes if name not in others]
    if not missing and not more:
        place = next(i for i, pair in enumerate(zip(others, classes)) if len(set(pair)) > 1)
        return (f'the classes have another order than in {split}: label {place} is '
                f'{classes[place]!r}, in {split} it is {others[place]!r}')
    parts = [f'{text} {listed(names)}' for text, names in (('lacks', missing), ('adds', more))
             if names]
    return f'against {split} it {" and ".join(parts)}'


def _check_counts(role: Role) -> Iterator[Problem]:
    training = role.name == 'train'
    # classes that no JSON has are problems of the lists
    known = {name for source in role.sources for name in source.listing.names.values()}
    absent = [name for name in role.classes if name in known and not role.segments[name]]
    if len(absent) > max(_MANY, len(role.classes) / 2):
        # a small part of a large data set
        yield problem('PAN406', f'{len(absent)} of {len(role.classes)} classes have no segment: '
                      f'{listed(absent)}', split=role.name,
                      severity=Severity.WARNING if training else Severity.NOTE)
    for name in role.classes if len(absent) <= max(_MANY, len(role.classes) / 2) else ():
        count = role.segments[name]
        if name in absent:
            yield problem(
                'PAN406', f'{name!r} has no segment' + (
                    '' if training else ', so it is left out of scores'), split=role.name,
                severity=Severity.WARNING if training else Severity.NOTE)
        elif training and 0 < count < _FEW and role.num_images >= _FEW_OF:
            yield problem('PAN407', f'{name!r} has {count} segment{"s" * (count > 1)} in '
                          f'{role.num_images} images', split=role.name)


def check_balance(train: Role, val: Role) -> Iterator[Problem]:
    """Compare how many images show a class in training and in validation."""
    n, m = train.num_images, val.num_images
    if min(n, m) < _MIN_IMAGES or not (train.knows_segments and val.knows_segments):
        return
    for name in train.classes:
        ours, theirs = train.images_with[name], val.images_with[name]
        pooled = (ours + theirs) / (n + m)
        error = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
        low, high = sorted((ours / n, theirs / m))
        if low and high / low >= _RATIO and high - low > _ERRORS * error:
            yield problem('PAN408', f'{name!r} is in {ours / n:.0%} of the images of {train.name} '
                          f'and in {theirs / m:.0%} of {val.name}')


def balance_table(roles: dict[str, Role]) -> list[dict[str, Any]]:
    """Return the numbers of each class in each role."""
    names = list(dict.fromkeys(name for role in roles.values() for name in role.classes))
    return [dict(name=name, **{
        role.name: dict(images=role.images_with[name], segments=role.segments[name],
                        pixels=role.pixels[name]) for role in roles.values()})
        for name in names]


def _are_binary_masks(statistics: SourceStatistics) -> bool:
    """Check for masks of 0 and 255 whose 255 is ignored, as the data set does in training."""
    source, classes = statistics.listing.source, statistics.listing.classes
    if source.kind != 'semantic' or not 0 < len(classes) <= 2 or source.reduce_zero_label or (
            source.ignore_index in (0, *(source.label_map or ()))):
        return False
    present = {name for name, count in statistics.pixels.items() if count}
    return present == {classes[0]} and statistics.void[0] > 0


def check_images(sources: Iterable[SourceStatistics]) -> Iterator[Problem]:
    """Find sources that mix kinds of images, and what pixels of all semantic images show."""
    for statistics in sources:
        source = statistics.listing.source
        for check, key, counter, unit in (
                ('PAN410', 'channels', statistics.channels, 'channel'),
                ('PAN411', 'depths', statistics.depths, 'bit')):
            if len(counter) < 2:
                continue
            parts: list[str] = []
            for value, count in counter.most_common():
                plural = 's' if value != 1 else ''
                part = f'{count} image{"s" * (count > 1)} of {value} {unit}{plural}'
                if parts:
                    names = statistics.examples[key, value]
                    part += f' ({", ".join(names)}{", ..." if count > len(names) else ""})'
                parts.append(part)
            converted = key == 'channels' and source.color_type not in ('unchanged', CHANNELS)
            yield problem(
                check, ', '.join(parts), split=source.split,
                severity=Severity.NOTE if converted else Severity.WARNING,
                mend='none is needed: they are converted when they are loaded' if converted
                else None)
        if _are_binary_masks(statistics):
            ignored = source.ignore_index
            single = len(statistics.listing.classes) == 1
            table = f'{{0: {ignored}, {ignored}: 0}}' if single else f'{{0: 0, {ignored}: 1}}'
            yield problem(
                'PAN222', f'all label maps have the values 0 and {ignored} only, so that a single '
                'class remains', split=source.split, file=source.seg_prefix,
                mend=f'set metainfo=dict(label_map={table}); if {ignored} does mark ignored '
                f'pixels, label_map={{0: 0, {ignored}: {ignored}}}')
        for image, count in statistics.crowded:
            yield problem('PAN409', f'{count} segments, and the model has {source.num_queries} '
                          'queries', split=source.split, file=image.file_name,
                          image_id=image.image_id)
