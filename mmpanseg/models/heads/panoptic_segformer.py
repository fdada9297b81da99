"""Panoptic SegFormer's head: location decoder, mask decoders, and how queries pass between them.

Shapes: B images, N located queries, C channels, K classes, Q rows of the result.
"""
from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmdet.structures import SampleList
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmpanseg.models.layers.precision import parameter_dtype, without_autocast
from mmpanseg.models.losses.panoptic_segformer_criterion import MaskStagePrediction
from mmpanseg.models.losses.panoptic_segformer_targets import read_targets
from mmpanseg.models.pixel_decoders.deformable_tokens import Tokens
from mmpanseg.models.transformer_decoders.location_decoder import LOCATIONS, Located
from mmpanseg.models.transformer_decoders.segformer_mask_decoder import MaskDecoded
from mmpanseg.registry import MODELS
from mmpanseg.structures.mask_logits import DenseMaskLogits, at_least_float
from mmpanseg.utils.config_checks import resolve_option

CLASS_FROM = ('location', 'mask')


class PredictedRows(NamedTuple):
    """Result of the head, one row for each candidate segment.

    ``cls_logits``: [B, Q, K] for the sigmoid, -inf where a row cannot have a class; ``masks``: of
    the same rows, values after the mask decoder's activation, 0.5 is the cut; ``queries``:
    int64 [B, Q], the query behind each row (stuff queries count on from N); ``locations``:
    [B, n, D] in 0..1 of the located rows, which come first, or None.
    """
    cls_logits: Tensor
    masks: DenseMaskLogits
    queries: Tensor
    locations: Tensor | None


@MODELS.register_module()
class PanopticSegFormerHead(BaseModule):
    """Panoptic segmentation with located queries and masks from attention maps.

    Queries that go through the location decoder are called located: those of things, or, without
    ``stuff_mask_decoder``, of all classes alike (joint matching, as in the first version). With it
    (query decoupling) every stuff class has one query of its own, which is not located.

    Where the paper and the released code differ, a setting decides. The defaults are the CVPR
    version; as released it also has ``criterion=dict(assigner=dict(num_rounds=1),
    stuff_cls_without_things=False)``, and its checkpoints hold the branches of
    ``mask_decoder=dict(classify=True, locate=True)``. First version: ``num_queries=400,
    location='center_scale', filter_queries=False, class_from='mask',
    location_decoder=dict(refine=False), mask_decoder=dict(num_layers=4, self_attention=True,
    tail=False), stuff_mask_decoder=None``, and the criterion's settings for it. Training takes any
    number of images at once.

    Args:
        in_channels: channels of the backbone's maps (strides 8, 16, 32), high resolution first.
        num_things_classes, num_stuff_classes: set once, at the segmentor. Without stuff classes
            no stuff decoder is built (instance segmentation).
        num_queries: N.
        channels: C.
        location: target of the location decoder: 'box', 'center_of_mass' or 'center_scale', see
            ``transformer_decoders.location.LOCATIONS``.
        filter_queries: only promising located queries pass on to the mask decoder: in training
            those of the assigner's rounds, else the best (query, class) pairs.
        class_from: what classifies located queries: 'location', the last layer of the location
            decoder (released code), or 'mask', the mask decoder (as the paper has it).
        max_per_image: (query, class) pairs that pass on without ground truth, or queries with
            ``class_from='mask'``.
        mask_levels: levels of the tokens, finest first, that masks are read off: three, without
            the extra one of stride 64.
        pixel_decoder: config of :class:`DeformableTokenEncoder`.
        location_decoder: settings of :class:`LocationDecoder`.
        mask_decoder: settings of :class:`MaskAttentionDecoder` for located queries. Here
            ``classify`` adds a classifier to every layer (needed with ``class_from='mask'``), and
            ``locate`` a location branch.
        stuff_mask_decoder: the same for stuff queries, or None for joint matching.
        criterion: config of the losses.

    Raises:
        ValueError: for settings that do not go together; the text names them.
    """

    # its predict method takes the metainfos as well
    reads_padding = True

    def __init__(self, in_channels: Sequence[int], num_things_classes: int,
                 num_stuff_classes: int, num_queries: int = 300, channels: int = 256,
                 location: str = 'box', filter_queries: bool = True,
                 class_from: str = 'location', max_per_image: int = 100, mask_levels: int = 3,
                 pixel_decoder: dict = dict(type='mmpanseg.DeformableTokenEncoder'),
                 location_decoder: dict = dict(type='mmpanseg.LocationDecoder'),
                 mask_decoder: dict = dict(type='mmpanseg.MaskAttentionDecoder', num_layers=4),
                 stuff_mask_decoder: dict | None = dict(
                     type='mmpanseg.MaskAttentionDecoder', num_layers=6, self_attention=True,
                     query_position='accumulate'),
                 criterion: dict = dict(type='mmpanseg.PanopticSegFormerCriterion'),
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        resolve_option('class_from', class_from, dict.fromkeys(CLASS_FROM))
        joint = stuff_mask_decoder is None
        self.num_classes = num_things_classes + num_stuff_classes
        self.num_located = self.num_classes if joint else num_things_classes
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
            raise ValueError(f'panoptic_head.mask_levels={mask_levels} must lie in 1..'
                             f'{num_levels}, the number of levels of the pixel decoder')
        self.location_decoder = MODELS.build(location_decoder, default_args=dict(
            type='mmpanseg.LocationDecoder', channels=channels, num_levels=num_levels,
            num_queries=num_queries, location=location,
            num_classes=self.num_located if filter_queries else 0))
        self.mask_decoder = MODELS.build(mask_decoder, default_args=dict(
            type='mmpanseg.MaskAttentionDecoder', channels=channels, num_levels=mask_levels,
            num_classes=self.num_located if classify else 0,
            location_size=LOCATIONS[location] if locate else 0))
        self.stuff_mask_decoder = None
        if not joint and num_stuff_classes:
            self.stuff_mask_decoder = MODELS.build(stuff_mask_decoder, default_args=dict(
                type='mmpanseg.MaskAttentionDecoder', channels=channels, num_levels=mask_levels,
                num_classes=1))
            # the first half of the channels is the position, the second the content
            self.stuff_query_embed = nn.Embedding(num_stuff_classes, 2 * channels)
        self.criterion = MODELS.build(criterion, default_args=dict(
            type='mmpanseg.PanopticSegFormerCriterion', location=location,
            num_location_classes=self.num_located,
            num_stuff_classes=self.num_classes - self.num_located))
        if class_from == 'mask' and not self.criterion.mask_cls_weight:
            raise ValueError("panoptic_head.class_from='mask' needs a classifier that is trained: "
                             'set panoptic_head.criterion.mask_cls_weight (2 in the paper)')

    def _check(self, classify: bool) -> None:
        if not self.num_located:
            raise ValueError(
                'a Panoptic SegFormer with query decoupling needs classes that are things '
                '(model.num_things_classes is 0): set panoptic_head.stuff_mask_decoder=None to '
                'let all classes share one set of queries')
        if self.class_from == 'location' and not self.filter_queries:
            raise ValueError(
                "panoptic_head.class_from='location' needs filter_queries=True: otherwise the "
                "location decoder has no classifier; set class_from='mask'")
        if self.class_from == 'mask' and not classify:
            raise ValueError("panoptic_head.class_from='mask' needs a classifier: set "
                             'panoptic_head.mask_decoder.classify=True')

    def _check_criterion(self, criterion: dict, classify: bool, locate: bool) -> None:
        """Settings of the criterion that would have no effect are mistakes."""
        if not self.filter_queries:
            selecting = [name for name, given in (
                ('location_costs', criterion.get('location_costs')),
                ('assigner.num_rounds', (criterion.get('assigner') or {}).get('num_rounds')),
            ) if given is not None]
            if selecting:
                raise ValueError(
                    f'panoptic_head.criterion.{selecting[0]} is for the selection of queries, '
                    'and with filter_queries=False there is none: leave it out')
        for name, branch, there in (('mask_cls_weight', 'classify', classify),
                                    ('mask_l1_weight', 'locate', locate),
                                    ('mask_giou_weight', 'locate', locate)):
            if criterion.get(name) and not there:
                raise ValueError(
                    f'panoptic_head.criterion.{name}={criterion[name]} is for a branch that does '
                    f'not exist: set panoptic_head.mask_decoder.{branch}=True')

    def forward(self, features: Sequence[Tensor],
                metainfos: Sequence[dict] | None = None) -> PredictedRows:
        """Candidate segments of every image.

        Args:
            features: backbone maps, high resolution first.
            metainfos: ``img_shape`` and ``batch_input_shape`` of every image; without, no image
                is padded.
        """
        tokens, located = self.locate(features, metainfos)
        mask_tokens = tokens.first_levels(self.mask_levels)
        queries, locations, cls_logits = self.select(located)
        states = gather_queries(located.queries[-1], queries)
        decoded = self.mask_decoder(states, self.positions(queries), mask_tokens)
        if self.class_from == 'mask':
            cls_logits = self.mask_decoder.cls_branches[-1](decoded.queries[-1])
        rows = [self._rows(cls_logits, 0, decoded, queries, locations)]
        if self.stuff_mask_decoder is not None:
            rows.append(self._stuff_rows(mask_tokens))
        masks = torch.cat([row.masks.logits[0] for row in rows], 1)
        return PredictedRows(
            torch.cat([row.cls_logits for row in rows], 1), DenseMaskLogits([masks]),
            torch.cat([row.queries for row in rows], 1), locations)

    def predict(self, features: Sequence[Tensor],
                metainfos: Sequence[dict] | None = None) -> tuple[Tensor, DenseMaskLogits]:
        """Class logits [B, Q, K] and mask values of the result, see :class:`PredictedRows`."""
        rows = self(features, metainfos)
        return at_least_float(rows.cls_logits), rows.masks.float()

    def loss(self, features: Sequence[Tensor],
             batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Losses by name against the samples' ``gt_segments``.

        Names are the released code's: ``loss_*`` of the last layers, ``d{i}.loss_*`` of the others;
        ``_f`` are the mask decoders'.
        """
        metainfos = [sample.metainfo for sample in batch_data_samples]
        tokens, located = self.locate(features, metainfos)
        targets = read_targets([sample.gt_segments for sample in batch_data_samples], metainfos,
                               self.num_located, self.location)
        mask_tokens = tokens.first_levels(self.mask_levels)
        location_norm, stuff_norm = self.criterion.normalizers(
            targets, self.num_queries, self.stuff_mask_decoder is not None)
        with without_autocast(features[0].device):
            locations = self.location_decoder.locate(located)
        losses = {}
        if self.filter_queries:
            with without_autocast(features[0].device):
                cls_logits = self.location_decoder.classify(located.queries)
                losses, kept = self.criterion.location_stage(
                    cls_logits, locations, targets, location_norm)
            candidates = [
                self._filtered(located, mask_tokens.image(image), image, queries, cls_logits[-1],
                               locations[-1]) for image, queries in enumerate(kept)]
        else:
            candidates = self._unfiltered(located, mask_tokens, locations)
        with without_autocast(features[0].device):
            losses.update(self.criterion.mask_stage(candidates, targets, location_norm))
        if self.stuff_mask_decoder is not None:
            decoded = self.decode_stuff(mask_tokens)
            cls_logits = self.stuff_mask_decoder.classify(decoded.queries)[..., 0]
            with without_autocast(features[0].device):
                losses.update(self.criterion.stuff_stage(
                    decoded.masks, at_least_float(cls_logits), targets, stuff_norm))
        return losses

    def _filtered(self, located: Located, tokens: Tokens, image: int, queries: Tensor,
                  cls_logits: Tensor, locations: Tensor) -> MaskStagePrediction:
        """Promising queries int64 [n] of one image through the mask decoder."""
        if not len(queries):  # nothing to decode is one query without a loss
            queries = queries.new_zeros(1)
        decoded = self.mask_decoder(
            located.queries[-1][image, queries][None], self.positions(queries)[None], tokens)
        own_logits = own_locations = None
        if len(self.mask_decoder.cls_branches):
            own_logits = at_least_float(self.mask_decoder.classify(decoded.queries)[:, 0])
        if len(self.mask_decoder.reg_branches):
            own_locations = at_least_float(self.mask_decoder.locate(
                decoded.queries, located.references[-1][image, queries])[:, 0])
        return MaskStagePrediction(decoded.masks, 0, cls_logits[image, queries],
                                   locations[image, queries], own_logits, own_locations)

    def _unfiltered(self, located: Located, tokens: Tokens,
                    locations: Tensor) -> list[MaskStagePrediction]:
        """All queries of every image through the mask decoder; locations [L, B, N, D]."""
        queries = self.select(located)[0]
        decoded = self.mask_decoder(located.queries[-1], self.positions(queries), tokens)
        cls_logits = at_least_float(self.mask_decoder.classify(decoded.queries))
        return [MaskStagePrediction(
            decoded.masks, image, cls_logits[-1, image], locations[-1, image],
            cls_logits[:, image], query_locations=locations[:, image])
            for image in range(len(queries))]

    def locate(self, features: Sequence[Tensor],
               metainfos: Sequence[dict] | None = None) -> tuple[Tokens, Located]:
        """Tokens and located queries, in single precision: half is too coarse for coordinates."""
        dtype = parameter_dtype(self.pixel_decoder)
        with without_autocast(features[0].device):
            tokens = self.pixel_decoder([x.to(dtype) for x in features], metainfos)
            return tokens, self.location_decoder(tokens)

    def select(self, located: Located) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Queries that pass on to the mask decoder when there is no ground truth.

        Returns:
            their indices, int64 [B, n]; their locations [B, n, D] and class logits [B, n, K] by
            the location decoder. With ``class_from='location'`` every row has one class, the
            others are -inf, and a query may have several rows.
        """
        batch, num_queries = located.queries.shape[1:3]
        if not self.filter_queries:
            every = torch.arange(num_queries, device=located.queries.device)
            return every.expand(batch, -1), None, None
        last = Located(located.queries[-1:], located.references[-1:])
        # half precision has too few values for a ranking
        cls_logits = at_least_float(self.location_decoder.cls_branches[-1](last.queries[0]))
        locations = self.location_decoder.locate_last(last)
        if self.class_from == 'mask':
            count = min(self.max_per_image, num_queries)
            queries = cls_logits.amax(-1).topk(count).indices
            return queries, gather_queries(locations, queries), None
        scores = cls_logits.sigmoid().flatten(1)
        index = scores.topk(min(self.max_per_image, scores.shape[1])).indices
        queries = index // self.num_located
        label = (index % self.num_located)[..., None]
        logits = gather_queries(cls_logits, queries)
        only = torch.full_like(logits, -torch.inf).scatter(2, label, logits.gather(2, label))
        return queries, gather_queries(locations, queries), only

    def positions(self, queries: Tensor) -> Tensor:
        """Position codes [B, n, C] of located queries int64 [B, n]."""
        return self.location_decoder.query_embed.weight[queries].chunk(2, dim=-1)[0]

    def decode_stuff(self, tokens: Tokens) -> MaskDecoded:
        """Masks of the stuff queries."""
        position, content = (half.expand(len(tokens.memory), -1, -1) for half in
                             self.stuff_query_embed.weight.chunk(2, dim=1))
        return self.stuff_mask_decoder(content, position, tokens)

    def _stuff_rows(self, tokens: Tokens) -> PredictedRows:
        decoded = self.decode_stuff(tokens)
        logits = self.stuff_mask_decoder.cls_branches[-1](decoded.queries[-1])
        count = logits.shape[1]
        own = torch.eye(count, dtype=torch.bool, device=logits.device)
        logits = logits.expand(-1, -1, count).masked_fill(~own, -torch.inf)
        queries = torch.arange(count, device=logits.device) + self.num_queries
        return self._rows(logits, self.num_located, decoded,
                          queries.expand(len(logits), -1), None)

    def _rows(self, cls_logits: Tensor, first_class: int, decoded: MaskDecoded, queries: Tensor,
              locations: Tensor | None) -> PredictedRows:
        """Rows whose logits [B, n, k] belong to classes from ``first_class`` on."""
        after = self.num_classes - first_class - cls_logits.shape[-1]
        cls_logits = nn.functional.pad(cls_logits, (first_class, after), value=-torch.inf)
        masks = decoded.masks[-1]
        masks = torch.stack([masks.masks(image) for image in range(len(queries))])
        return PredictedRows(cls_logits, DenseMaskLogits([masks]), queries, locations)


def gather_queries(values: Tensor, queries: Tensor) -> Tensor:
    """Values [B, N, C] of some queries int64 [B, n] -> [B, n, C]."""
    return values.gather(1, queries[..., None].expand(-1, -1, values.shape[-1]))
