"""Orders of class labels: some code bases count as the dataset does, this library things first."""
from collections.abc import Sequence

import torch
from torch import Tensor

from mmpanseg.checkpoints.class_names import CheckpointClasses
from mmpanseg.checkpoints.sources import CheckpointError, CheckpointSource
from mmpanseg.datasets import ade20k, cityscapes, mapillary
from mmpanseg.datasets.coco import CocoPanopticDataset

# dataset -> (names by our label, label that published models give to each of ours)
PUBLISHED: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
    'cityscapes': (cityscapes.CityscapesPanopticDataset.METAINFO['classes'],
                   tuple(map(cityscapes.LABELS.index, cityscapes.THINGS + cityscapes.STUFF))),
    'ade20k': (ade20k.ADE20KPanopticDataset.METAINFO['classes'], ade20k.PANOPTIC_ORDER),
    'mapillary': (mapillary.MapillaryPanopticDataset.METAINFO['classes'],
                  mapillary.PANOPTIC_ORDER),
    # counts things first itself
    'coco': (CocoPanopticDataset.METAINFO['classes'],
             tuple(range(len(CocoPanopticDataset.METAINFO['classes'])))),
}
CHOICES = (f'--class-order {", ".join(PUBLISHED)} (panoptic models in the published order of that '
           'dataset), same (labels stay as they are), or the label there of each label here: '
           '11,12,0,1,...')
# instance segmentation of COCO, and things and stuff of COCO
_COCO_COUNTS = (80, 133)


def published_order(name: str) -> list[int]:
    """The published label of each of our labels, for a dataset of the table.

    Raises:
        CheckpointError: the dataset is not in the table.
    """
    if name not in PUBLISHED:
        raise CheckpointError(f'class order {name!r} is not known; known are '
                              f'{", ".join(PUBLISHED)}, or a list of labels')
    return list(PUBLISHED[name][1])


def find_class_order(source: CheckpointSource, file: CheckpointClasses, names: Sequence[str], num_things: int,
                     num_stuff: int) -> list[int] | None:
    """The label in a checkpoint of each label of a config.

    Names on both sides tell it. Without, the code base that wrote the file does: this library's
    and mmdetection's labels are the config's; others count as their dataset, which the config's
    class names name. Models of things only or of stuff only have the order of their dataset.

    Args:
        source: of the checkpoint.
        file: what the checkpoint says about its classes.
        names: the config's, by label; empty if it names none.
        num_things, num_stuff: the config's.

    Returns:
        None if labels stay as they are.

    Raises:
        CheckpointError: the order cannot be known.
    """
    theirs, ours = _plain(file.names), _plain(names)
    if ours and sorted(theirs) == sorted(ours) and len(set(ours)) == len(ours):
        return None if theirs == ours else [theirs.index(name) for name in ours]
    if source.things_first or file.own_order or not num_things or not num_stuff:
        return None
    for published, order in PUBLISHED.values():
        if ours == _plain(published) and (not theirs or _agree(theirs, ours, order)):
            return None if list(order) == sorted(order) else list(order)
    raise CheckpointError(
        f'the order of its labels cannot be known: models of {source.title} count classes in the '
        f'order of their dataset, and the config\'s ({_some(names)}) are of none that is known'
        + (f'; the checkpoint names {_some(file.names)}' if file.names else '')
        + f'; give {CHOICES}')


def require_known_order(source: CheckpointSource, file: CheckpointClasses, rows: int) -> None:
    """Refuse to guess where there is no config: the same labels may be panoptic or semantic.

    Args:
        source, file: see :func:`find_class_order`.
        rows: of the classifier, with the one of no object.

    Raises:
        CheckpointError: the order cannot be known.
    """
    if source.things_first or file.own_order:
        return
    names = _plain(file.names)
    if names:
        for published, order in PUBLISHED.values():
            ours = _plain(published)
            if sorted(names) == sorted(ours) and names != ours:
                break
        else:  # ours already, or of other data: labels stay, and names say what they are
            return
    elif rows - 1 in _COCO_COUNTS:
        return
    same = [name for name, (published, _) in PUBLISHED.items() if len(published) == rows - 1]
    raise CheckpointError(
        f'it has {rows - 1} classes{f", as {same[0]} has" if same else ""}, in an order that '
        f'cannot be known: models of {source.title} count classes as their dataset does, panoptic '
        f'models here things first; give --config, or {CHOICES}')


def permute_classes(value: Tensor, order: Sequence[int], key: str) -> Tensor:
    """Rows of a tensor [K, ...] or [K + 1, ...] in another order; the last one of K + 1 stays.

    Raises:
        CheckpointError: the tensor is for another number of classes, or labels are missing.
    """
    count = len(order)
    if sorted(order) != list(range(count)):
        raise CheckpointError(f'class order of {count} labels must hold each of 0 .. {count - 1} '
                              f'once, got {list(order)[:8]} ...')
    if len(value) not in (count, count + 1):
        raise CheckpointError(f'{key} has {len(value)} rows, which are no {count} classes; '
                              'is the class order of another dataset?')
    return value[torch.tensor([*order, *range(count, len(value))], device=value.device)]


def _agree(theirs: Sequence[str], ours: Sequence[str], order: Sequence[int]) -> bool:
    """Whether most of the rows keep their name; spellings of some may differ."""
    return len(theirs) == len(ours) and 2 * sum(
        theirs[row] == name for row, name in zip(order, ours)) > len(ours)


def _plain(names: Sequence[str]) -> list[str]:
    """Names without what copies of them differ in."""
    return [' '.join(name.casefold().split()) for name in names]


def _some(names: Sequence[str]) -> str:
    return f'{", ".join(names[:4])}{", ..." if len(names) > 4 else ""}' or 'without names'
