"""Panoptic SegFormer's head: encoder, location decoder, mask decoders.

Shapes: B images, N location queries, C channels, K classes, n selected candidates, S stuff
classes, Q = n + S candidate segments, D numbers of a location, H, W masks at the finest level.
"""
from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmdet.structures import SampleList
from torch import Tensor, nn

from mmpanseg.models.heads.base import PanopticHead
from mmpanseg.models.layers.precision import parameter_dtype, without_autocast
from mmpanseg.models.losses.panoptic_segformer_criterion import MaskStagePrediction
from mmpanseg.models.losses.panoptic_segformer_targets import read_targets
from mmpanseg.models.pixel_decoders.deformable_tokens import Tokens
from mmpanseg.models.transformer_decoders.location_decoder import LOCATIONS, LocationOutputs
from mmpanseg.models.transformer_decoders.query_selection import (
    gather_queries,
    one_class_per_query,
    pad_classes,
    top_class_pairs,
    top_queries,
)
from mmpanseg.models.transformer_decoders.segformer_mask_decoder import (
    MaskAttentionDecoder,
    MaskDecoderOutputs,
)
from mmpanseg.registry import MODELS
from mmpanseg.structures.attention_masks import QueryMasks
from mmpanseg.structures.mask_logits import DenseMaskLogits, at_least_float
from mmpanseg.utils.config_checks import resolve_option

CLASS_FROM = ('location', 'mask')


class CandidateSegments(NamedTuple):
    """Predictions of the head, one row for each candidate segment.

    Attributes:
        cls_logits: class logits [B, Q, K] for the sigmoid, -inf for classes that a row cannot
            have.
        masks: masks [B, Q, H, W] of the same rows, values after the activation of the mask
            decoder; the threshold of a mask is 0.5.
        queries: index of the query of each row, int64 [B, Q]; the index of stuff query j is N + j.
        locations: locations [B, n, D] in 0..1 of the location queries, which are the first n rows;
            None if the location decoder does not select them.
    """
    cls_logits: Tensor
    masks: DenseMaskLogits
    queries: Tensor
    locations: Tensor | None


@MODELS.register_module()
class PanopticSegFormerHead(PanopticHead):
    """Panoptic segmentation with a location decoder and masks from attention maps.

    The queries of the location decoder are called location queries here. With query decoupling
    (CVPR version) they are the thing queries of the paper, and every stuff class has one stuff
    query, which the location decoder does not process. Without ``stuff_mask_decoder`` they predict
    all classes (joint matching, first version).

    Where the paper and the released code differ, an option selects the behavior. The defaults are
    those of the CVPR version. The released code corresponds to ``criterion=dict(assigner=dict(
    num_rounds=1), stuff_cls_without_things=False)``, and its checkpoints contain the branches of
    ``mask_decoder=dict(classify=True, locate=True)``. The first version corresponds to
    ``num_queries=400, location='center_scale', filter_queries=False, class_from='mask',
    location_decoder=dict(refine=False), mask_decoder=dict(num_layers=4, self_attention=True,
    tail=False), stuff_mask_decoder=None`` and the options of the criterion for it. Batches of
    several images per device are supported in training.

    Args:
        in_channels: channels of the backbone's feature maps (strides 8, 16, 32), in decreasing
            order of resolution.
        num_things_classes: number of thing classes, set by the segmentor.
        num_stuff_classes: number of stuff classes S, set by the segmentor. With 0 no stuff decoder
            is built (instance segmentation).
        num_queries: number of location queries N.
        channels: width C of tokens and queries.
        location: target of the location decoder: 'box', 'center_of_mass' or 'center_scale', see
            ``LOCATIONS`` in :mod:`mmpanseg.models.transformer_decoders.location_decoder`.
        filter_queries: decode masks of selected location queries only: in training those that the
            assigner's rounds select, in inference the (query, class) pairs with the largest
            scores.
        class_from: classifier of the location queries: 'location', the last layer of the location
            decoder (released code), or 'mask', the mask decoder (paper).
        max_per_image: number of (query, class) pairs to select in inference; with
            ``class_from='mask'`` number of queries.
        mask_levels: number of levels of the tokens, from the finest, that masks are computed from;
            3 leaves out the additional level of stride 64.
        pixel_decoder: config of :class:`DeformableTokenEncoder`.
        location_decoder: config of :class:`LocationDecoder`.
        mask_decoder: config of :class:`MaskAttentionDecoder` for location queries. Two keys are
            read by the head: ``classify`` adds a classifier to every layer (required by
            ``class_from='mask'``), ``locate`` a location branch.
        stuff_mask_decoder: config of :class:`MaskAttentionDecoder` for stuff queries; None for
            joint matching.
        criterion: config of the losses.
        init_cfg: config of the initialization, see mmengine's ``BaseModule``.

    Raises:
        ValueError: options contradict each other; the text names them.
    """

    score_activation = 'sigmoid'
    mask_activation = 'none'

    def __init__(self, in_channels: Sequence[int], num_things_classes: int,
                 num_stuff_classes: int, num_queries: int = 300, channels: int = 256,
                 location: str = 'box', filter_queries: bool = True,
                 class_from: str = 'location', max_per_image: int = 100, mask_levels: int = 3,
                 pixel_decoder: dict = dict(type='mmpanseg.DeformableTokenEncoder'),
                 location_decoder: dict = dict(type='mmpanseg.LocationDecoder'),
                 mask_decoder: dict = dict(type='mmpanseg.MaskAttentionDecoder', num_layers=4),
                 stuff_mask_decoder: dict | None = dict(
                     type='mmpanseg.MaskAttentionDecoder', num_layers=6, self_attention=True,
                     query_pos_mode='accumulate'),
                 criterion: dict = dict(type='mmpanseg.PanopticSegFormerCriterion'),
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        resolve_option('class_from', class_from, dict.fromkeys(CLASS_FROM))
        joint = stuff_mask_decoder is None
        self.num_classes = num_things_classes + num_stuff_classes
        self.num_location_classes = self.num_classes if joint else num_things_classes
        self.num_queries = num_queries
        self.location = location
        self.filter_queries = filter_queries
        self.class_from = class_from
        self.max_per_image = max_per_image
        self.mask_levels = mask_levels
        mask_decoder = dict(mask_decoder)
        classify = mask_decoder.pop('classify', class_from == 'mask')
        locate = mask_decoder.pop('locate', False)
        self._check(classify)
        self._check_criterion(criterion, classify, locate)
        self.pixel_decoder = MODELS.build(pixel_decoder, default_args=dict(
            in_channels=in_channels, channels=channels))
        num_levels = self.pixel_decoder.num_levels
        if not 1 <= mask_levels <= num_levels:
            raise ValueError(f'panoptic_head.mask_levels={mask_levels} must be in 1..'
                             f'{num_levels}, the number of levels of the pixel decoder')
        self.location_decoder = MODELS.build(location_decoder, default_args=dict(
            type='mmpanseg.LocationDecoder', channels=channels, num_levels=num_levels,
            num_queries=num_queries, location=location,
            num_classes=self.num_location_classes if filter_queries else 0))
        self.mask_decoder = MODELS.build(mask_decoder, default_args=dict(
            type='mmpanseg.MaskAttentionDecoder', channels=channels, num_levels=mask_levels,
            num_classes=self.num_location_classes if classify else 0,
            location_size=LOCATIONS[location] if locate else 0))
        self.stuff_mask_decoder: MaskAttentionDecoder | None = None
        if not joint and num_stuff_classes:
            self.stuff_mask_decoder = MODELS.build(stuff_mask_decoder, default_args=dict(
                type='mmpanseg.MaskAttentionDecoder', channels=channels, num_levels=mask_levels,
                num_classes=1))
            # position embedding and content, C channels each
            self.stuff_query_embed = nn.Embedding(num_stuff_classes, 2 * channels)
        self.criterion = MODELS.build(criterion, default_args=dict(
            type='mmpanseg.PanopticSegFormerCriterion', location=location,
            num_location_classes=self.num_location_classes,
            num_stuff_classes=self.num_classes - self.num_location_classes))
        if class_from == 'mask' and not self.criterion.mask_cls_weight:
            raise ValueError("panoptic_head.class_from='mask' requires a trained classifier: "
                             'set panoptic_head.criterion.mask_cls_weight (2 in the paper)')

    def _check(self, classify: bool) -> None:
        if not self.num_location_classes:
            raise ValueError(
                'query decoupling of Panoptic SegFormer requires thing classes '
                '(model.num_things_classes is 0): set panoptic_head.stuff_mask_decoder=None to '
                'predict all classes with one set of queries')
        if self.class_from == 'location' and not self.filter_queries:
            raise ValueError(
                "panoptic_head.class_from='location' requires filter_queries=True, because "
                "otherwise the location decoder has no classifier: set class_from='mask'")
        if self.class_from == 'mask' and not classify:
            raise ValueError("panoptic_head.class_from='mask' requires a classifier: set "
                             'panoptic_head.mask_decoder.classify=True')

    def _check_criterion(self, criterion: dict, classify: bool, locate: bool) -> None:
        """Refuse options of the criterion that would have no effect."""
        if not self.filter_queries:
            selecting = [name for name, given in (
                ('location_costs', criterion.get('location_costs')),
                ('assigner.num_rounds', (criterion.get('assigner') or {}).get('num_rounds')),
            ) if given is not None]
            if selecting:
                raise ValueError(
                    f'panoptic_head.criterion.{selecting[0]} is an option of the selection of '
                    'queries, which filter_queries=False disables: remove it')
        for name, branch, there in (('mask_cls_weight', 'classify', classify),
                                    ('mask_l1_weight', 'locate', locate),
                                    ('mask_giou_weight', 'locate', locate)):
            if criterion.get(name) and not there:
                raise ValueError(
                    f'panoptic_head.criterion.{name}={criterion[name]} is the weight of a branch '
                    f'that does not exist: set panoptic_head.mask_decoder.{branch}=True')

    def forward(self, features: Sequence[Tensor],
                metainfos: Sequence[dict] | None = None) -> CandidateSegments:
        """Predict the candidate segments of every image.

        Args:
            features: feature maps of the backbone, in decreasing order of resolution.
            metainfos: ``img_shape`` and ``batch_input_shape`` of every image; None if no image is
                padded.
        """
        tokens, outputs = self.locate(features, metainfos)
        tokens = tokens.first_levels(self.mask_levels)
        queries, locations, cls_logits = self.select(outputs)
        parts = [(*self._decode_selected(outputs, queries, cls_logits, tokens), queries)]
        if self.stuff_mask_decoder is not None:
            parts.append(self._decode_stuff_classes(tokens))
        logits, attention, index = zip(*parts)
        masks = torch.cat([
            torch.stack([part.masks(image) for image in range(len(queries))])
            for part in attention], 1)
        return CandidateSegments(
            torch.cat(logits, 1), DenseMaskLogits([masks]), torch.cat(index, 1), locations)

    def predict(self, features: Sequence[Tensor],
                metainfos: Sequence[dict] | None = None) -> tuple[Tensor, DenseMaskLogits]:
        return self.predict_with_queries(features, metainfos)[:2]

    def predict_with_queries(
            self, features: Sequence[Tensor], metainfos: Sequence[dict] | None = None
    ) -> tuple[Tensor, DenseMaskLogits, Tensor]:
        candidates = self(features, metainfos)
        return at_least_float(candidates.cls_logits), candidates.masks.float(), candidates.queries

    def _decode_selected(self, outputs: LocationOutputs, queries: Tensor,
                         cls_logits: Tensor | None,
                         tokens: Tokens) -> tuple[Tensor, QueryMasks]:
        """Class logits [B, n, K] and final masks of selected location queries int64 [B, n]."""
        decoded = self.mask_decoder(
            gather_queries(outputs.queries[-1], queries), self.query_pos(queries), tokens)
        if cls_logits is None:
            cls_logits = self.mask_decoder.cls_branches[-1](decoded.queries[-1])
        return pad_classes(cls_logits, 0, self.num_classes), decoded.masks[-1]

    def _decode_stuff_classes(self, tokens: Tokens) -> tuple[Tensor, QueryMasks, Tensor]:
        """Class logits [B, S, K], final masks and indices [B, S] of the stuff queries."""
        decoded = self.decode_stuff(tokens)
        assert self.stuff_mask_decoder is not None
        logits = one_class_per_query(self.stuff_mask_decoder.cls_branches[-1](decoded.queries[-1]))
        index = torch.arange(logits.shape[1], device=logits.device) + self.num_queries
        return (pad_classes(logits, self.num_location_classes, self.num_classes),
                decoded.masks[-1], index.expand(len(logits), -1))

    def loss(self, features: Sequence[Tensor],
             batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Compute the losses, named as in the released code.

        ``loss_*`` are those of the last layers, ``d{i}.loss_*`` those of the others; the suffix
        ``_f`` marks those of the mask decoders.
        """
        metainfos = [sample.metainfo for sample in batch_data_samples]
        tokens, outputs = self.locate(features, metainfos)
        targets = read_targets([sample.gt_segments for sample in batch_data_samples], metainfos,
                               self.num_location_classes, self.location)
        mask_tokens = tokens.first_levels(self.mask_levels)
        location_norm, stuff_norm = self.criterion.normalizers(
            targets, self.num_queries, self.stuff_mask_decoder is not None)
        with without_autocast(features[0].device):
            locations = self.location_decoder.locate(outputs)
        losses = {}
        if self.filter_queries:
            with without_autocast(features[0].device):
                cls_logits = self.location_decoder.classify(outputs.queries)
                losses, kept = self.criterion.location_stage(
                    cls_logits, locations, targets, location_norm)
            candidates = [
                self._filtered(outputs, mask_tokens.image(image), image, queries, cls_logits[-1],
                               locations[-1]) for image, queries in enumerate(kept)]
        else:
            candidates = self._unfiltered(outputs, mask_tokens, locations)
        with without_autocast(features[0].device):
            losses.update(self.criterion.mask_stage(candidates, targets, location_norm))
        if self.stuff_mask_decoder is not None:
            decoded = self.decode_stuff(mask_tokens)
            cls_logits = self.stuff_mask_decoder.classify(decoded.queries)[..., 0]
            with without_autocast(features[0].device):
                losses.update(self.criterion.stuff_stage(
                    decoded.masks, at_least_float(cls_logits), targets, stuff_norm))
        return losses

    def _filtered(self, outputs: LocationOutputs, tokens: Tokens, image: int, queries: Tensor,
                  cls_logits: Tensor, locations: Tensor) -> MaskStagePrediction:
        """Decode masks of the selected queries int64 [n] of one image."""
        if not len(queries):  # the decoder runs in every iteration, here on a query without loss
            queries = queries.new_zeros(1)
        decoded = self.mask_decoder(
            outputs.queries[-1][image, queries][None], self.query_pos(queries)[None], tokens)
        own_logits = own_locations = None
        if len(self.mask_decoder.cls_branches):
            own_logits = at_least_float(self.mask_decoder.classify(decoded.queries)[:, 0])
        if len(self.mask_decoder.reg_branches):
            own_locations = at_least_float(self.mask_decoder.locate(
                decoded.queries, outputs.references[-1][image, queries])[:, 0])
        return MaskStagePrediction(decoded.masks, 0, cls_logits[image, queries],
                                   locations[image, queries], own_logits, own_locations)

    def _unfiltered(self, outputs: LocationOutputs, tokens: Tokens,
                    locations: Tensor) -> list[MaskStagePrediction]:
        """Decode masks of all queries of every image; locations [L, B, N, D]."""
        queries = self.select(outputs)[0]
        decoded = self.mask_decoder(outputs.queries[-1], self.query_pos(queries), tokens)
        cls_logits = at_least_float(self.mask_decoder.classify(decoded.queries))
        return [MaskStagePrediction(
            decoded.masks, image, cls_logits[-1, image], locations[-1, image],
            cls_logits[:, image], query_locations=locations[:, image])
            for image in range(len(queries))]

    def locate(self, features: Sequence[Tensor],
               metainfos: Sequence[dict] | None = None) -> tuple[Tokens, LocationOutputs]:
        """Run encoder and location decoder, in single precision at least.

        Half precision is too coarse for coordinates. Arguments as for :meth:`forward`.
        """
        dtype = parameter_dtype(self.pixel_decoder)
        with without_autocast(features[0].device):
            tokens = self.pixel_decoder([x.to(dtype) for x in features], metainfos)
            return tokens, self.location_decoder(tokens)

    def select(self, outputs: LocationOutputs) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Select the location queries whose masks are decoded in inference.

        Args:
            outputs: outputs of the location decoder.

        Returns:
            indices of the queries int64 [B, n]; their locations [B, n, D] by the location decoder,
            None without ``filter_queries``; their class logits [B, n, K] by the location decoder,
            None unless ``class_from='location'``. These are -inf except for one class per row, and
            a query may have several rows.
        """
        if not self.filter_queries:
            batch, num_queries = outputs.queries.shape[1:3]
            index = torch.arange(num_queries, device=outputs.queries.device)
            return index.expand(batch, -1), None, None
        # half precision is too coarse for a ranking
        cls_logits = at_least_float(self.location_decoder.cls_branches[-1](outputs.queries[-1]))
        locations = self.location_decoder.locate_last(outputs)
        if self.class_from == 'mask':
            queries = top_queries(cls_logits, self.max_per_image)
            return queries, gather_queries(locations, queries), None
        queries, cls_logits = top_class_pairs(cls_logits, self.max_per_image)
        return queries, gather_queries(locations, queries), cls_logits

    def query_pos(self, queries: Tensor) -> Tensor:
        """Position embeddings [..., C] of location queries int64 [...]."""
        return self.location_decoder.query_embed.weight[queries].chunk(2, dim=-1)[0]

    def decode_stuff(self, tokens: Tokens) -> MaskDecoderOutputs:
        """Decode the masks of the stuff queries from the levels that masks are computed from."""
        assert self.stuff_mask_decoder is not None
        query_pos, query = (half.expand(len(tokens.memory), -1, -1) for half in
                            self.stuff_query_embed.weight.chunk(2, dim=1))
        return self.stuff_mask_decoder(query, query_pos, tokens)
