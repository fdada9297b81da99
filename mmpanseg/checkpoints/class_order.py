"""Orders of class labels: this library counts things first, some code bases like the dataset."""
from collections.abc import Sequence

import torch
from torch import Tensor

from mmpanseg.checkpoints.class_names import CheckpointClasses
from mmpanseg.checkpoints.sources import CheckpointError, CheckpointSource
from mmpanseg.datasets import ade20k, cityscapes, mapillary
from mmpanseg.datasets.coco import CocoPanopticDataset

# dataset -> class names by label of this library, and the label of each in published models
PUBLISHED: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
    'cityscapes': (cityscapes.CityscapesPanopticDataset.METAINFO['classes'],
                   tuple(map(cityscapes.LABELS.index, cityscapes.THINGS + cityscapes.STUFF))),
    'ade20k': (ade20k.ADE20KPanopticDataset.METAINFO['classes'], ade20k.PANOPTIC_ORDER),
    'mapillary': (mapillary.MapillaryPanopticDataset.METAINFO['classes'],
                  mapillary.PANOPTIC_ORDER),
    # things are first in the dataset
    'coco': (CocoPanopticDataset.METAINFO['classes'],
             tuple(range(len(CocoPanopticDataset.METAINFO['classes'])))),
}
CHOICES = (f'--class-order {", ".join(PUBLISHED)} (panoptic models in the published order of that '
           'dataset), same (labels stay as they are), or the label there of each label here: '
           '11,12,0,1,...')
# instance segmentation of COCO, and things and stuff of COCO
_COCO_COUNTS = (80, 133)


def published_order(name: str) -> list[int]:
    """Look up the label in published models of each label of this library.

    Args:
        name: dataset, a key of :data:`PUBLISHED`.

    Raises:
        CheckpointError: the dataset is unknown.
    """
    if name not in PUBLISHED:
        raise CheckpointError(f'class order {name!r} is not known; known are '
                              f'{", ".join(PUBLISHED)}, or a list of labels')
    return list(PUBLISHED[name][1])


def find_class_order(source: CheckpointSource, file: CheckpointClasses, names: Sequence[str],
                     num_things: int, num_stuff: int) -> list[int] | None:
    """Find the label in a checkpoint of each label of a config.

    Class names in both determine the order. Without names in the checkpoint, the code base
    determines it: labels of this library and of mmdetection are those of the config; other code
    bases count like the dataset, which is identified by the class names of the config. Models of
    things only or of stuff only use the order of their dataset.

    Args:
        source: code base of the checkpoint.
        file: classes of the checkpoint.
        names: class names of the config by label; empty if unknown.
        num_things: number of thing classes of the config.
        num_stuff: number of stuff classes of the config.

    Returns:
        None if the labels are equal.

    Raises:
        CheckpointError: the order cannot be determined.
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
    """Check that the class order is known without a config.

    The order of panoptic and semantic models may differ for the same number of classes.

    Args:
        source: code base of the checkpoint.
        file: classes of the checkpoint.
        rows: rows of the classifier, including the one of "no object".

    Raises:
        CheckpointError: the order cannot be determined.
    """
    if source.things_first or file.own_order:
        return
    names = _plain(file.names)
    if names:
        for published, _ in PUBLISHED.values():
            ours = _plain(published)
            if sorted(names) == sorted(ours) and names != ours:
                break
        else:  # the order of this library, or another dataset, whose labels stay unchanged
            return
    elif rows - 1 in _COCO_COUNTS:
        return
    same = [name for name, (published, _) in PUBLISHED.items() if len(published) == rows - 1]
    raise CheckpointError(
        f'it has {rows - 1} classes{f", as {same[0]} has" if same else ""}, in an order that '
        f'cannot be known: models of {source.title} count classes as their dataset does, panoptic '
        f'models here things first; give --config, or {CHOICES}')


def permute_classes(value: Tensor, order: Sequence[int], key: str) -> Tensor:
    """Permute the class rows of a tensor.

    Args:
        value: [K, ...], or [K + 1, ...] with a last row for "no object", which stays in place.
        order: old row of each of the K new rows.
        key: name of the tensor in error texts.

    Raises:
        CheckpointError: the number of rows is wrong, or ``order`` is no permutation.
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
    """Check that most names agree in the given order; some may be spelled differently."""
    return len(theirs) == len(ours) and 2 * sum(
        theirs[row] == name for row, name in zip(order, ours)) > len(ours)


def _plain(names: Sequence[str]) -> list[str]:
    """Normalize case and spaces of names."""
    return [' '.join(name.casefold().split()) for name in names]


def _some(names: Sequence[str]) -> str:
    return f'{", ".join(names[:4])}{", ..." if len(names) > 4 else ""}' or 'without names'
