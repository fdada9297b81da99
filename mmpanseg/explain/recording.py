"""Records the forward pass of a model whose head is of a known system."""
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from mmpanseg.explain.kmeans import KMeansTrace
from mmpanseg.explain.masked_attention import MaskedAttentionTrace
from mmpanseg.explain.panoptic_segformer import LocationTrace
from mmpanseg.explain.traces import Recorder, Trace
from mmpanseg.models.heads import (
    KMaXDeepLabHead,
    Mask2FormerHead,
    PanopticHead,
    PanopticSegFormerHead,
)
from mmpanseg.models.segmentors import MaskTransformer
from mmpanseg.structures.mask_logits import MaskLogits

# heads, which stand for their subclasses too, and the classes of their traces
_TRACES: Sequence[tuple[type[PanopticHead], Any]] = (
    (Mask2FormerHead, MaskedAttentionTrace), (PanopticSegFormerHead, LocationTrace),
    (KMaXDeepLabHead, KMeansTrace))


class Recording:
    """A recorded forward pass; :func:`recording` makes one.

    Args:
        kind: class of the trace.
        model: the segmentor.
    """

    def __init__(self, kind: Any, model: MaskTransformer) -> None:
        self._kind, self._head = kind, model.panoptic_head
        self.recorder: Recorder = kind.recorder(self._head)

    @torch.no_grad()
    def trace(self) -> Trace:
        """Return what the layers computed in the last forward pass.

        Raises:
            ValueError: there was none.
        """
        return self._kind(self._head, self.recorder)


@contextmanager
def recording(model: MaskTransformer) -> Iterator[Recording]:
    """Record forward passes of a model, whose results do not change.

    Args:
        model: segmentor in evaluation mode.

    Yields:
        the recording.

    Raises:
        ValueError: the head is of no known system; the text names the known ones.
    """
    kind = _kind_of(model.panoptic_head)
    made = Recording(kind, model)
    with made.recorder:
        yield made


def _kind_of(head: PanopticHead) -> Any:
    for known, kind in _TRACES:
        if isinstance(head, known):
            return kind
    raise ValueError(
        f'{type(head).__name__} cannot be explained: its decoder is not known; it must be one of '
        f'{", ".join("mmpanseg." + known.__name__ for known, _ in _TRACES)} or a subclass')


@torch.no_grad()
def trace_batch(model: MaskTransformer, data: dict
                ) -> tuple[Sequence, Tensor, MaskLogits, Any]:
    """Predict a batch of a data loader, and trace it.

    Args:
        model: segmentor in evaluation mode.
        data: batch of a test data loader.

    Returns:
        data samples, class logits, mask logits and the trace, of the class for the system.

    Raises:
        ValueError: the head is of no known system.
    """
    batch = model.get_submodule('data_preprocessor')(data, False)
    samples = batch['data_samples']
    with recording(model) as made:
        cls_logits, mask_logits = model.predict_queries(
            batch['inputs'], [sample.metainfo for sample in samples])
        trace = made.trace()
    return samples, cls_logits, mask_logits, trace
