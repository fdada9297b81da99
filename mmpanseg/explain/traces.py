"""What the layers of a decoder computed in a forward pass: the parts that all systems share.

B: number of images; R: rows of a result; K: number of classes; h, w: size of a map.
"""
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mmpanseg.structures.mask_logits import MaskLogits


class Call(NamedTuple):
    """A call of a module.

    Attributes:
        args: its positional arguments.
        kwargs: its keyword arguments.
        output: what it returned.
    """

    args: tuple
    kwargs: dict[str, Any]
    output: Any


class Recorder:
    """Records the calls of modules while it is entered, by hooks that change nothing.

    Args:
        modules: modules to record.

    Attributes:
        calls: module -> its calls in their order.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self.calls: dict[nn.Module, list[Call]] = {module: [] for module in modules}
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> 'Recorder':
        self._handles = [module.register_forward_hook(self._record, with_kwargs=True)
                         for module in self.calls]
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()

    def last(self, module: nn.Module) -> Call:
        """Return the last call of a module.

        Raises:
            ValueError: it was not called while the recorder was entered.
        """
        if not self.calls[module]:
            raise ValueError(f'{type(module).__name__} was not called: run the model inside the '
                             'recorder')
        return self.calls[module][-1]

    def _record(self, module: nn.Module, args: tuple, kwargs: dict[str, Any],
                output: Any) -> None:
        self.calls[module].append(Call(args, kwargs, output))


@dataclass(frozen=True)
class AttentionMap:
    """Where a query looked on one map.

    Attributes:
        heads: attention weights, float [heads, h, w]; the sum of a head over all maps of the layer,
            and over the queries where ``queries_share`` is not None, is 1.
        allowed: bool [h, w] where the query might look, or float [heads, h, w] of 0 .. 1 that the
            weights are multiplied with; None: everywhere.
        queries_share: share of the attention on other queries, mean of the heads; None where they
            are not in the softmax.
    """

    heads: Tensor
    allowed: Tensor | None = None
    queries_share: float | None = None


@dataclass(frozen=True)
class SampledPoints:
    """The points of deformable attention, in 0 .. 1 of the padded input.

    Attributes:
        places: (x, y) float [heads, levels, points, 2].
        weights: float [heads, levels, points]; the sum of a head is 1.
        reference: (x, y) or (center x, center y, width, height) that the points are around.
    """

    places: Tensor
    weights: Tensor
    reference: Tensor


@dataclass(frozen=True)
class Layer:
    """What one layer of a decoder computed for one row of the result.

    Attributes:
        title: such as 'layer 3'.
        scores: scores of all classes [K + 1] that the query predicts after the layer, "no object"
            last; None where the layer has no classifier.
        masks: mask logits that the layer predicts; None where it predicts none.
        row: the row of ``masks``.
        attention: where the query looked in the layer, one for each map that it read.
        points: where it looked, in deformable attention.
        owner: query of each pixel in the k-means update, int64 [h, w]; None without one.
        logits: attention logits of each head, mean over the levels, float [heads, h, w], where the
            layer computes its masks from them; None elsewhere.
    """

    title: str
    scores: Tensor | None = None
    masks: MaskLogits | None = None
    row: int = 0
    attention: tuple[AttentionMap, ...] = ()
    points: SampledPoints | None = None
    owner: Tensor | None = None
    logits: Tensor | None = None


class Trace(Protocol):
    """A forward pass, as it was recorded."""

    # what the query looks at, for headings
    attention_title: str

    def query(self, image: int, row: int) -> int:
        """Return the query of a row of the result."""

    def layers(self, image: int, row: int) -> list[Layer]:
        """Return what each layer computed for a row of the result, in the decoder's order.

        Args:
            image: index in the batch.
            row: of class logits and mask logits that the model predicted.
        """


def split_levels(weights: Tensor, sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
    """Split values [..., S] of flattened maps into maps [..., h, w] of the given sizes."""
    parts = weights.split([height * width for height, width in sizes], -1)
    return [part.unflatten(-1, size) for part, size in zip(parts, sizes)]


def selected(index: int, device: torch.device) -> Tensor:
    """Return an index as a tensor of one element."""
    return torch.tensor([index], device=device)
