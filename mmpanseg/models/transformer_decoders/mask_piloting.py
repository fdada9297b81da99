"""Mask-piloted (MP) queries: ground truth fed into a masked-attention decoder (MP-Former).

Every segment of the ground truth becomes a query: the embedding of its noised label, whose
attention mask in the first layers is the noised mask of the segment.

Shapes: B images, N piloted segments of an image (largest number in the batch), G groups, each with
one copy of every piloted segment, P = G N piloted queries, Q learnable queries, C channels, K
classes, L predictions, S positions of a memory, h x w map. Query g N + j is the copy of segment j
in group g. Images with fewer segments leave queries unused: these are zero and attend to all
positions, as in the released code.

A kind of mask noise (section 4.3) maps bool masks [B, G, N, h, w] and a ratio in 0..1 to noised
masks of that shape, independently for every copy. The paper prints no ratio for shift and scale
noise.
"""
import copy
import math
from collections.abc import Callable, Sequence

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from mmpanseg.models.losses.base import pad_labels
from mmpanseg.models.losses.mask_criterion import MaskCriterion
from mmpanseg.models.task_modules.bipartite_matching import Matches
from mmpanseg.models.transformer_decoders.masked_attention_decoder import (
    CrossAttentionMasks,
    open_empty,
)
from mmpanseg.structures.mask_logits import MaskLogits, MaskRows
from mmpanseg.structures.segment_map import SegmentBatch
from mmpanseg.utils.config_checks import resolve_option
from mmpanseg.utils.device import to_device

MaskNoise = Callable[[Tensor, float], Tensor]


def point_noise(masks: Tensor, ratio: float) -> Tensor:
    """Invert cells at random locations, up to ``ratio`` times the area of the mask (section 4.3).

    The number of locations is uniform in that range and rounded up or down at random, so that the
    smallest masks are noised too. Locations are sampled with replacement from the whole map; a cell
    that is sampled twice is inverted once.
    """
    flat = masks.flatten(-2)
    num_cells = flat.shape[-1]
    share, rounding = torch.rand(2, *flat.shape[:-1], 1, device=masks.device)
    number = (share * ratio * flat.sum(-1, keepdim=True) + rounding).floor()
    # enough for the largest mask: the exact number would require a copy from the device
    num_samples = math.ceil(ratio * num_cells)
    index = torch.randint(num_cells, (*flat.shape[:-1], num_samples), device=masks.device)
    # surplus samples address an extra column, which is cut off
    index.masked_fill_(torch.arange(num_samples, device=masks.device) >= number, num_cells)
    inverted = flat.new_zeros(*flat.shape[:-1], num_cells + 1).scatter_(-1, index, True)
    return masks ^ inverted[..., :num_cells].view(masks.shape)


def cell_noise(masks: Tensor, ratio: float) -> Tensor:
    """Invert every cell with :func:`flip_probability`, as the released code does."""
    uniform = torch.rand(masks.shape, device=masks.device)
    return masks ^ (uniform < flip_probability(masks, ratio))


def flip_probability(masks: Tensor, ratio: float) -> Tensor:
    """Multiply ``ratio`` by the fraction of the map inside a mask: [..., h, w] -> [..., 1, 1]."""
    return ratio * masks.float().mean((-2, -1), keepdim=True)


def shift_noise(masks: Tensor, ratio: float) -> Tensor:
    """Shift masks vertically and horizontally by up to ``ratio`` times half their bounding box.

    With a ratio of at most 1 the center stays inside the box, as section 4.3 requires.
    """
    center, size = box_centers_and_sizes(masks)
    shift = (2 * torch.rand(size.shape, device=masks.device) - 1) * ratio * size / 2
    return resample(masks, center, shift, torch.ones_like(shift))


def scale_noise(masks: Tensor, ratio: float) -> Tensor:
    """Scale masks about their centers by a factor in 1 - ``ratio`` to 1 + ``ratio``."""
    center, _ = box_centers_and_sizes(masks)
    factor = 1 + ratio * (2 * torch.rand(*masks.shape[:-2], 1, device=masks.device) - 1)
    return resample(masks, center, torch.zeros_like(center), factor.expand_as(center))


def box_centers_and_sizes(masks: Tensor) -> tuple[Tensor, Tensor]:
    """Compute bounding boxes of masks.

    Args:
        masks: bool [..., h, w].

    Returns:
        centers and sizes (y, x) in cells, float32 [..., 2] each. Empty masks have size 0.
    """
    centers, sizes = [], []
    for axis in (-1, -2):
        occupied = masks.any(axis)
        index = torch.arange(occupied.shape[-1], device=masks.device)
        first = torch.where(occupied, index, occupied.shape[-1]).amin(-1)
        last = torch.where(occupied, index, -1).amax(-1)
        centers.append((first + last) / 2)
        sizes.append((last - first + 1).clamp(min=0))
    return torch.stack(centers, -1), torch.stack(sizes, -1).float()


def resample(masks: Tensor, center: Tensor, shift: Tensor, factor: Tensor) -> Tensor:
    """Scale masks about their centers, then shift them, by nearest-neighbor sampling.

    Args:
        masks: bool [..., h, w].
        center: centers (y, x) in cells [..., 2].
        shift: shifts (y, x) in cells [..., 2].
        factor: scale factors (y, x), greater than 0 [..., 2].

    Returns:
        bool [..., h, w], False where the source is outside the map.
    """
    inside, sources = [], []
    for axis, length in enumerate(masks.shape[-2:]):
        c, s, f = (x[..., axis, None] for x in (center, shift, factor))
        cell = torch.arange(length, device=masks.device)
        source = ((cell - s - c) / f + c).round().long()
        inside.append((source >= 0) & (source < length))
        sources.append(source.clamp(0, length - 1))
    (y, x), (y_inside, x_inside) = sources, inside
    rows = masks.gather(-2, y[..., None].expand_as(masks))
    moved = rows.gather(-1, x[..., None, :].expand_as(masks))
    return moved & y_inside[..., None] & x_inside[..., None, :]


MASK_NOISE: dict[str, MaskNoise | None] = {
    'none': None,
    'point': point_noise,
    'cell': cell_noise,
    'shift': shift_noise,
    'scale': scale_noise,
}


def flip_to_other(labels: Tensor, num_classes: int) -> Tensor:
    """Sample another class for each label, uniformly; the same one if there is only one class."""
    step = torch.randint(1, max(num_classes, 2), labels.shape, device=labels.device)
    return (labels + step) % num_classes


def flip_to_any(labels: Tensor, num_classes: int) -> Tensor:
    """Sample a class for each label, uniformly from all classes."""
    return torch.randint(num_classes, labels.shape, device=labels.device)


LABEL_FLIPS = {'other': flip_to_other, 'any': flip_to_any}


class Piloting:
    """Settings of mask-piloted training; a call turns the ground truth of a batch into queries.

    The defaults are the paper's method (section 5.1). The run scripts of the released code use
    ``num_groups=1, budget=None, mask_noise='none', label_flip='any'``.

    Args:
        num_classes: number of classes K.
        num_groups: number of groups G, at least 1; None: as many as the budget permits.
        budget: largest number of piloted queries P (100 GT masks in the paper). A random subset of
            the segments is piloted where an image has more. None: no limit.
        num_layers: number of decoder layers, the first ones, whose attention masks are ground
            truth (Table 8); later layers use predicted masks. None: all layers. The released code
            uses 4 where its option for all layers is off.
        mask_noise: 'point' (paper), 'cell' (released code), 'shift', 'scale' or 'none'.
        noise_ratio: ratio of the mask noise in 0..1, lambda_p of the paper.
        label_noise: probability of a label flip in 0..1, lambda_l of the paper.
        label_flip: 'other': to another class (paper); 'any': to any class (released code).
        assignment: 'hard': a piloted query is trained with its own segment; 'matching': bipartite
            matching inside every group (Table 9).

    Raises:
        ValueError: a setting is unknown, out of range, or contradicts another one.
    """

    def __init__(self, num_classes: int, num_groups: int | None = None,
                 budget: int | None = 100, num_layers: int | None = None,
                 mask_noise: str = 'point', noise_ratio: float = 0.2, label_noise: float = 0.2,
                 label_flip: str = 'other', assignment: str = 'hard') -> None:
        if num_groups is None and budget is None:
            raise ValueError('piloting: set num_groups, budget or both; with num_groups=None and '
                             'budget=None the number of groups is undefined')
        if num_groups is not None and num_groups < 1:
            raise ValueError(f'piloting: num_groups={num_groups} must be at least 1 or None')
        if budget is not None and budget < (num_groups or 1):
            raise ValueError(f'piloting: budget={budget} must be at least {num_groups or 1}, one '
                             'query per group')
        if not (0 <= noise_ratio <= 1 and 0 <= label_noise <= 1):
            raise ValueError('piloting: noise_ratio and label_noise must be in 0..1, got '
                             f'{noise_ratio} and {label_noise}')
        self.num_classes = num_classes
        self.num_groups = num_groups
        self.budget = budget
        self.num_layers = num_layers
        self.mask_noise = (
            resolve_option('mask_noise', mask_noise, MASK_NOISE) if noise_ratio else None)
        self.noise_ratio = noise_ratio
        self.label_noise = label_noise
        self.flip = resolve_option('label_flip', label_flip, LABEL_FLIPS)
        self.assign = resolve_option('assignment', assignment, ASSIGNMENTS)
        self._logged = False

    def __call__(self, segments: SegmentBatch) -> 'PilotedQueries':
        """Pilot the segments of a batch; without any ground truth P is 0."""
        count = segments.max_count
        if self.budget is not None:
            count = min(count, self.budget // (self.num_groups or 1))
        if count < segments.max_count and not self._logged:
            self._logged = True
            print_log(
                f'An image has {segments.max_count} segments, but the budget of {self.budget} '
                f'mask-piloted queries permits {count}: a random subset is piloted, here and in '
                'later batches (logged once).', logger='current')
        groups = self.num_groups
        if groups is None:
            assert self.budget is not None  # checked by the constructor
            groups = self.budget // max(count, 1)
        return PilotedQueries(self, segments, groups, count)

    def clean(self) -> 'Piloting':
        """Copy the settings, with one group, without budget and without noise."""
        clean = copy.copy(self)
        clean.num_groups, clean.budget = 1, None
        clean.mask_noise, clean.label_noise = None, 0.0
        return clean

    def noised_labels(self, labels: Tensor) -> Tensor:
        """Flip each of the labels, int64 of any shape, with probability ``label_noise``."""
        if not self.label_noise:
            return labels
        flipped = torch.rand(labels.shape, device=labels.device) < self.label_noise
        return torch.where(flipped, self.flip(labels, self.num_classes), labels)


class PilotedQueries:
    """Mask-piloted queries of one batch.

    Args:
        settings: settings of mask-piloted training.
        segments: ground truth of the B images.
        num_groups: number of groups G.
        count: number of piloted segments N; images with more are subsampled.

    Attributes:
        num_piloted: number of piloted queries P.
        counts: number of piloted segments of each image.
        chosen: indices of the piloted segments, int64 [B, N]; None where all segments are piloted.
        labels: noised labels, int64 [B, P].
        used: whether a piloted query of a group has a segment, bool [B, N].
    """

    def __init__(self, settings: Piloting, segments: SegmentBatch, num_groups: int,
                 count: int) -> None:
        self.settings = settings
        self.segments = segments
        self.num_groups = num_groups
        self.count = count
        self.num_piloted = num_groups * count
        self.counts = [min(n, count) for n in segments.counts]
        self.device = segments.labels[0].device
        chosen = [self._choose(n) for n in segments.counts]
        self.chosen = None if count == segments.max_count else pad_labels(chosen)
        labels = pad_labels([x[c] for x, c in zip(segments.labels, chosen)])
        self.labels = settings.noised_labels(labels.repeat(1, num_groups))
        number = torch.arange(count, device=self.device)
        self.used = number < to_device(self.device, self.counts)[0][:, None]
        self._masks: dict[tuple[int, int], Tensor] = {}

    def _choose(self, available: int) -> Tensor:
        """Return indices of the piloted segments of an image: all, or a random subset."""
        if available <= self.count:
            return torch.arange(available, device=self.device)
        return torch.randperm(available, device=self.device)[:self.count].sort().values

    def queries(self, table: nn.Embedding) -> Tensor:
        """Embed the noised labels: query features [B, P, C], zero for unused queries."""
        used = self.used.repeat(1, self.num_groups)[..., None]
        return table(self.labels).masked_fill(~used, 0)

    def self_attn_mask(self, num_queries: int) -> Tensor:
        """Compute the mask of self-attention, piloted queries first.

        Learnable queries attend to learnable queries only, so that they are the same without
        piloted queries. Piloted queries attend to their group and to the learnable queries.

        Args:
            num_queries: number of learnable queries Q.

        Returns:
            bool [P + Q, P + Q], True where a query (row) may attend to another one.
        """
        group = torch.arange(self.num_piloted + num_queries, device=self.device)
        group = group.div(max(self.count, 1), rounding_mode='floor')
        learnable = torch.arange(len(group), device=self.device) >= self.num_piloted
        return learnable | ((group[:, None] == group) & ~learnable[:, None])

    def uses_ground_truth(self, layer: int) -> bool:
        """Whether the attention masks of a decoder layer, counted from 0, are ground truth."""
        return self.settings.num_layers is None or layer < self.settings.num_layers

    def masks(self, sizes: Sequence[tuple[int, int]]) -> Tensor:
        """Compute noised masks for one decoder layer; every call samples new noise.

        Args:
            sizes: (h, w) of the maps that the layer reads.

        Returns:
            bool [B, P, S].
        """
        masks = []
        for size in sizes:
            copies = self.clean_masks(size)[:, None].expand(-1, self.num_groups, -1, -1)
            if self.settings.mask_noise is not None:
                copies = self.settings.mask_noise(
                    copies.unflatten(-1, size), self.settings.noise_ratio).flatten(-2)
            masks.append(copies.flatten(1, 2))
        return torch.cat(masks, dim=-1)

    def clean_masks(self, size: tuple[int, int]) -> Tensor:
        """Masks without noise on a map of size (h, w), bool [B, N, h * w]; cached per size."""
        if size not in self._masks:
            masks = self.segments.max_pool(size)
            if self.chosen is not None:
                masks = masks.gather(1, self.chosen[..., None].expand(-1, -1, masks.shape[-1]))
                masks = masks & self.used[..., None]
            self._masks[size] = masks
        return self._masks[size]

    def match(self, criterion: MaskCriterion, cls_logits: Tensor, mask_logits: MaskLogits,
              segments: SegmentBatch) -> Matches:
        """Assign predictions of the piloted queries to segments, as the settings require.

        Args:
            criterion: criterion whose costs and assigner a bipartite matching uses.
            cls_logits: class logits of the piloted queries [L, B, P, K + 1].
            mask_logits: L mask logits of the piloted queries.
            segments: ground truth of the B images.

        Returns:
            pairs of predictions and segments.
        """
        return self.settings.assign(self, criterion, cls_logits, mask_logits, segments)

    def match_own(self, criterion: MaskCriterion, cls_logits: Tensor, mask_logits: MaskLogits,
                  segments: SegmentBatch) -> Matches:
        """Assign its own segment to every piloted query, in every prediction; see :meth:`match`."""
        rows = [torch.cartesian_prod(
            torch.arange(len(mask_logits)), torch.tensor([image]), torch.arange(self.num_groups),
            torch.arange(count)) for image, count in enumerate(self.counts)]
        layer, image, group, number = to_device(self.device, torch.cat(rows))[0].unbind(1)
        segment = number if self.chosen is None else self.chosen[image, number]
        return Matches(
            MaskRows(layer, image, group * self.count + number, [len(x) for x in rows]), segment)

    def match_groups(self, criterion: MaskCriterion, cls_logits: Tensor, mask_logits: MaskLogits,
                     segments: SegmentBatch) -> Matches:
        """Match each group with all segments of its image; see :meth:`match`."""
        costs = criterion.cost_matrices(cls_logits, mask_logits, segments)
        grouped = costs.unflatten(2, (self.num_groups, self.count)).flatten(1, 2)
        counts = [n for n in segments.counts for _ in range(self.num_groups)]
        matches = criterion.assigner(grouped, counts)
        rows = matches.rows
        group = rows.image % self.num_groups
        splits = torch.tensor(rows.splits).view(-1, self.num_groups).sum(1).tolist()
        return Matches(
            MaskRows(rows.layer, rows.image // self.num_groups, group * self.count + rows.query,
                     splits), matches.segment)


ASSIGNMENTS = {'hard': PilotedQueries.match_own, 'matching': PilotedQueries.match_groups}


class PilotedAttentionMasks(CrossAttentionMasks):
    """Attention masks of piloted and learnable queries: ground truth first, predicted masks later.

    Source: MP-Former, section 4.2.

    Args:
        pilots: piloted queries of the batch.
        mask_features: [B, C', h, w], see :class:`CrossAttentionMasks`.
        sizes: for each memory, (h, w) of its maps.
    """

    def __init__(self, pilots: PilotedQueries, mask_features: Tensor,
                 sizes: Sequence[Sequence[tuple[int, int]]]) -> None:
        super().__init__(mask_features, sizes)
        self.pilots = pilots

    def __call__(self, embeds: Tensor, layer: int) -> Tensor:
        if not self.pilots.uses_ground_truth(layer):
            return super().__call__(embeds, layer)
        learnable = super().__call__(embeds[:, self.pilots.num_piloted:], layer)
        piloted = self.pilots.masks(self.sizes[layer % len(self.sizes)])
        return torch.cat([open_empty(piloted), learnable], dim=1)
