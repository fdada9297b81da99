"""Groups of losses: the terms of a criterion, and the decoder layers of each."""
import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from mmpanseg.curves.run_log import RunLog, Series

_LAYER = re.compile(r'd(\d+)\.(.+)')


class LossTerm(NamedTuple):
    """A term of the loss.

    Attributes:
        name: that of its last layer, e.g. ``loss_mask``.
        layers: name of each layer in its chart (``d0``, ``d1``, ..., ``last``) -> name in the log,
            from first to last.
    """

    name: str
    layers: dict[str, str]


def loss_terms(names: Iterable[str]) -> list[LossTerm]:
    """Group loss names; the total loss is no term.

    Prediction i of those before the last has the prefix ``d{i}.``. Panoptic SegFormer writes the
    masks of the last layer without the ending ``_f`` of the other layers.

    Args:
        names: of everything that a training logs.
    """
    losses = [name for name in names if 'loss' in name and name != 'loss']
    layered = [(int(match[1]), match[2], match[0])
               for match in map(_LAYER.fullmatch, losses) if match]
    terms = {term for _, term, _ in layered}
    found: dict[str, dict[int | None, str]] = {}
    for position, term, name in layered:
        short = term.removesuffix('_f')
        if term != short and short in losses and short not in terms:
            term = short
        found.setdefault(term, {})[position] = name
    for name in losses:
        if not _LAYER.fullmatch(name):
            found.setdefault(name, {})[None] = name
    order = {name: place for place, name in enumerate(losses)}
    return [LossTerm(term, {
        'last' if layer is None else f'd{layer}': layers[layer]
        for layer in sorted(layers, key=lambda layer: (layer is None, layer))})
        for term, layers in sorted(found.items(), key=lambda item: order.get(
            item[0], min(order[name] for name in item[1].values())))]


def term_sum(run: RunLog, term: LossTerm) -> Series:
    """Sum a term over its layers, at the steps that all of them have."""
    series = [run.train[name] for name in term.layers.values()]
    steps = series[0].steps
    for other in series[1:]:
        steps = np.intersect1d(steps, other.steps)
    total = np.zeros(len(steps))
    for one in series:
        total += one.values[np.searchsorted(one.steps, steps)]
    return Series(steps, total)
