"""Orders of class labels: published models count a data set's labels, ours things first."""
from typing import Optional, Sequence

import torch
from torch import Tensor

from mmpanseg.checkpoints.sources import CheckpointError

# data set -> (classes, labels of its things); COCO's things come first already
PUBLISHED_THINGS: dict[str, tuple[int, tuple[int, ...]]] = {
    'cityscapes': (19, tuple(range(11, 19))),
    'ade20k': (150, (
        7, 8, 10, 12, 14, 15, 18, 19, 20, 22, 23, 24, 27, *range(30, 34), *range(35, 40), *range(
            41, 46), 47, 49, 50, 53, *range(55, 59), 62, *range(64, 68), *range(69, 77), 78,
        *range(80, 84), *range(85, 91), 92, 93, 95, 97, 98, 102, 103, 104, 107, 108, 110, 111, 112,
        115, 116, *range(118, 122), *range(123, 128), 129, 130, *range(132, 140), 142, 143, 144,
        *range(146, 150))),
    'mapillary': (65, (0, 1, 8, *range(19, 24), *range(32, 43), *range(44, 58), *range(59, 63))),
}


def things_first(name: str) -> list[int]:
    """The published label of each of our labels, for a data set of the table.

    Raises:
        CheckpointError: the data set is not in the table.
    """
    if name not in PUBLISHED_THINGS:
        raise CheckpointError(f'class order {name!r} is not known; known are '
                              f'{", ".join(PUBLISHED_THINGS)}, or a list of labels')
    count, things = PUBLISHED_THINGS[name]
    return [*things, *(label for label in range(count) if label not in things)]


def find_class_order(num_things: int, num_stuff: int) -> Optional[str]:
    """The data set of the table with so many classes; None if labels stay as published.

    A model of things only or of stuff only has the published order.
    """
    for name, (count, things) in PUBLISHED_THINGS.items():
        if (num_things, num_stuff) == (len(things), count - len(things)):
            return name
    return None


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
                              'is the class order of another data set?')
    return value[torch.tensor([*order, *range(count, len(value))], device=value.device)]
