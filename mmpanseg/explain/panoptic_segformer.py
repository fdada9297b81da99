"""Traces of Panoptic SegFormer and its baselines: sampled points, attention maps, masks, classes.

N: number of location queries; h: number of heads; H, W: size of a mask.
"""
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmpanseg.explain.traces import (
    AttentionMap,
    Layer,
    Recorder,
    SampledPoints,
    selected,
    split_levels,
)
from mmpanseg.models.heads import PanopticSegFormerHead
from mmpanseg.models.inference.full_size_masks import sigmoid_scores
from mmpanseg.models.layers.deformable_attention import MSDeformAttention
from mmpanseg.models.layers.deformable_sampling import level_sizes
from mmpanseg.models.transformer_decoders.location_decoder import LocationOutputs
from mmpanseg.models.transformer_decoders.query_selection import pad_classes
from mmpanseg.models.transformer_decoders.segformer_mask_decoder import MaskDecoderOutputs
from mmpanseg.structures.attention_masks import QueryMasks
from mmpanseg.structures.mask_logits import DenseMaskLogits


class _Part(NamedTuple):
    """A mask decoder, whose queries are rows of the result.

    Attributes:
        module: the decoder.
        outputs: what it returned.
        mask: bool [B, S], where queries might attend; None: everywhere.
        first_class: label of the first class of its classifiers.
    """

    module: nn.Module
    outputs: MaskDecoderOutputs
    mask: Tensor | None
    first_class: int


class LocationTrace:
    """A forward pass of a Panoptic SegFormer head.

    Args:
        head: the head.
        recorder: with its calls.
    """

    attention_title = 'attention of the mask decoder'

    def __init__(self, head: PanopticSegFormerHead, recorder: Recorder) -> None:
        self._head = head
        self._located: LocationOutputs = recorder.last(head.location_decoder).output
        self._deformable = [(layer.cross_attn, recorder.last(layer.cross_attn))
                            for layer in head.location_decoder.decoder.layers]
        self._queries = head.select(self._located)[0]
        decoders = [(head.mask_decoder, 0)]
        if head.stuff_mask_decoder is not None:
            decoders.append((head.stuff_mask_decoder, head.num_location_classes))
        self._parts = [_Part(module, recorder.last(module).output,
                             _key_mask(module, recorder.last(module).args[2]), first)
                       for module, first in decoders]

    @staticmethod
    def recorder(head: PanopticSegFormerHead) -> Recorder:
        """Create the recorder of a head."""
        modules = [head.location_decoder, head.mask_decoder, head.stuff_mask_decoder,
                   *(layer.cross_attn for layer in head.location_decoder.decoder.layers)]
        return Recorder([module for module in modules if module is not None])

    def query(self, image: int, row: int) -> int:
        """Return the query of a row; the index of stuff query j is N + j."""
        part, at = self._place(row)
        if part is self._parts[0]:
            return int(self._queries[image, at])
        return self._head.num_queries + at

    def layers(self, image: int, row: int) -> list[Layer]:
        """Return the layers of the location decoder, then those of the mask decoder."""
        part, at = self._place(row)
        located = [] if part is not self._parts[0] else self._location_layers(
            image, int(self._queries[image, at]))
        return located + self._mask_layers(part, image, at)

    def _place(self, row: int) -> tuple[_Part, int]:
        masks = [part.outputs.masks[-1] for part in self._parts]
        number, at = decoder_of_row(masks, row)
        return self._parts[number], at

    def _location_layers(self, image: int, query: int) -> list[Layer]:
        branches = self._head.location_decoder.cls_branches
        found = []
        for number, (module, call) in enumerate(self._deformable):
            scores = None
            if len(branches):
                scores = self._scores(branches[number](
                    self._located.queries[number, image, query]), 0)
            found.append(Layer(f'location layer {number + 1}', scores,
                               points=sampled_points(module, call.args, call.kwargs, image, query)))
        return found

    def _mask_layers(self, part: _Part, image: int, at: int) -> list[Layer]:
        branches = getattr(part.module, 'cls_branches', ())
        num_attending = len(getattr(part.module, 'layers', ()))
        found = []
        for number, masks in enumerate(part.outputs.masks):
            index = selected(at, masks.query.device)
            scores = None
            if number < len(branches):
                logits = branches[number](part.outputs.queries[number, image, at])
                first = part.first_class + (at if part is not self._parts[0] else 0)
                scores = self._scores(logits, first)
            look: tuple[AttentionMap, ...] = ()
            if number < num_attending:
                look = _look(masks, image, index, part.mask)
            found.append(Layer(
                f'mask layer {number + 1}' if number < num_attending else 'last attention',
                scores,
                DenseMaskLogits([masks.masks(image, index)[None].float()]), 0, look,
                logits=head_logits(masks, image, at)))
        return found

    def _scores(self, logits: Tensor, first_class: int) -> Tensor:
        """Scores [K + 1] of logits [k] of the classes from ``first_class`` on."""
        padded = pad_classes(logits.float()[None, None], first_class, self._head.num_classes)
        return sigmoid_scores(padded)[0, 0]


def decoder_of_row(final: Sequence[QueryMasks], row: int) -> tuple[int, int]:
    """Return the number of the decoder that predicted a row of the result, and its index there."""
    for number, masks in enumerate(final):
        size = masks.query.shape[2]
        if row < size:
            return number, row
        row -= size
    raise IndexError('the result has more rows than the mask decoders predicted')


def head_logits(masks: QueryMasks, image: int, at: int) -> Tensor:
    """Return the attention logits of a query, mean over the levels, float32 [h, H', W'].

    Args:
        masks: of a layer.
        image: index in the batch.
        at: index of the query.
    """
    logits = masks.attention(image, selected(at, masks.query.device))[0].float()
    finest = masks.sizes[0]
    return torch.stack([
        F.interpolate(level[None], finest, mode='bilinear', align_corners=False)[0]
        for level in split_levels(logits, masks.sizes)]).mean(0)


def sampled_points(module: MSDeformAttention, args: tuple, kwargs: dict, image: int,
                   query: int) -> SampledPoints:
    """Compute the points that deformable attention sampled in a recorded call.

    Args:
        module: the attention.
        args: of the call, without those in ``kwargs``.
        kwargs: of the call.
        image: index in the batch.
        query: index of the query.
    """
    queries = kwargs['query'] if 'query' in kwargs else args[0]
    position = kwargs.get('query_pos')
    if position is not None:
        queries = queries + position
    reference = kwargs['reference_points']
    shapes = tuple((int(height), int(width)) for height, width in kwargs['spatial_shapes'])
    one = (slice(image, image + 1), slice(query, query + 1))
    x, y, weights = module.sampled_points(queries[one], reference[one], shapes)
    sizes = level_sizes(shapes, x.device)[:, None]
    places = (torch.stack([x, y], -1) + 0.5) / sizes
    return SampledPoints(places[0, 0].float(), weights[0, 0].float(), reference[one][0, 0, 0])


def _key_mask(module: nn.Module, tokens: object) -> Tensor | None:
    """Where the queries of a mask decoder might attend, bool [B, S]; None: everywhere."""
    padding = getattr(tokens, 'padding_mask', None)
    return None if padding is None or getattr(module, 'ignore_padding', True) else ~padding


def _look(masks: QueryMasks, image: int, index: Tensor,
          mask: Tensor | None) -> tuple[AttentionMap, ...]:
    logits = masks.attention(image, index)[0].float()
    if mask is None:
        return tuple(map(AttentionMap, split_levels(logits.softmax(-1), masks.sizes)))
    weights = logits.masked_fill(~mask[image], -torch.inf).softmax(-1)
    return tuple(AttentionMap(heads, allowed) for heads, allowed in zip(
        split_levels(weights, masks.sizes), split_levels(mask[image], masks.sizes)))
