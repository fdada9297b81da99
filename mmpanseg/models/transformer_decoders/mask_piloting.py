"""Mask-piloted queries: ground truth that is fed into a masked-attention decoder (MP-Former).

Shapes: B images, N segments piloted in an image (largest count of the batch), G copies of them,
P = G N slots, Q learnable queries, C channels, K classes, L predictions, S positions of a memory.
Copy g of piloted segment j of an image sits in slot g N + j. Images with fewer segments leave
slots unused: zero queries that look everywhere, as in the released code.

Every kind takes masks on the grid of a feature map, bool [B, G, N, h, w] (B images, G copies of
N segments), and a ratio, and gives noised masks of that shape; every copy has its own noise. The
paper prints no ratio for shift and scale.
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
from mmpanseg.models.transformer_decoders.masked_attention_decoder import MaskRegions, open_empty
from mmpanseg.structures.mask_logits import MaskLogits, MaskRows
from mmpanseg.structures.segment_map import SegmentBatch
from mmpanseg.utils.config_checks import resolve_option
from mmpanseg.utils.device import to_device

MaskNoise = Callable[[Tensor, float], Tensor]


def point_noise(masks: Tensor, ratio: float) -> Tensor:
    """Invert cells at random places, up to ``ratio`` times the mask's area (the paper's law).

    The number is uniform in that range, and rounded up or down at random, so that the smallest
    masks meet noise too. Places are drawn with replacement over the whole grid; one that is drawn
    twice counts once.
    """
    flat = masks.flatten(-2)
    num_cells = flat.shape[-1]
    share, rounding = torch.rand(2, *flat.shape[:-1], 1, device=masks.device)
    number = (share * ratio * flat.sum(-1, keepdim=True) + rounding).floor()
    # enough for the largest mask: how many are needed would have to be asked from the device
    draws = math.ceil(ratio * num_cells)
    place = torch.randint(num_cells, (*flat.shape[:-1], draws), device=masks.device)
    # places beyond the number fall into a column that is cut off
    place.masked_fill_(torch.arange(draws, device=masks.device) >= number, num_cells)
    hit = flat.new_zeros(*flat.shape[:-1], num_cells + 1).scatter_(-1, place, True)
    return masks ^ hit[..., :num_cells].view(masks.shape)


def cell_noise(masks: Tensor, ratio: float) -> Tensor:
    """Invert every cell with probability :func:`flip_probability` (the released code's law)."""
    draws = torch.rand(masks.shape, device=masks.device)
    return masks ^ (draws < flip_probability(masks, ratio))


def flip_probability(masks: Tensor, ratio: float) -> Tensor:
    """``ratio`` times the share of the grid that a mask covers: [..., h, w] -> [..., 1, 1]."""
    return ratio * masks.float().mean((-2, -1), keepdim=True)


def shift_noise(masks: Tensor, ratio: float) -> Tensor:
    """Move masks by up to ``ratio`` times half their bounding box, vertically and horizontally.

    With a ratio of at most 1 the center stays within the box, as the paper asks.
    """
    center, extent = boxes(masks)
    shift = (2 * torch.rand(extent.shape, device=masks.device) - 1) * ratio * extent / 2
    return resample(masks, center, shift, torch.ones_like(shift))


def scale_noise(masks: Tensor, ratio: float) -> Tensor:
    """Enlarge or shrink masks about their center by a factor in 1 - ``ratio`` to 1 + ``ratio``."""
    center, _ = boxes(masks)
    factor = 1 + ratio * (2 * torch.rand(*masks.shape[:-2], 1, device=masks.device) - 1)
    return resample(masks, center, torch.zeros_like(center), factor.expand_as(center))


def boxes(masks: Tensor) -> tuple[Tensor, Tensor]:
    """Centers and extents (y, x) in cells of the bounding boxes, each [..., 2]; zero if empty."""
    centers, extents = [], []
    for axis in (-1, -2):
        touched = masks.any(axis)
        index = torch.arange(touched.shape[-1], device=masks.device)
        first = torch.where(touched, index, touched.shape[-1]).amin(-1)
        last = torch.where(touched, index, -1).amax(-1)
        centers.append((first + last) / 2)
        extents.append((last - first + 1).clamp(min=0))
    return torch.stack(centers, -1), torch.stack(extents, -1).float()


def resample(masks: Tensor, center: Tensor, shift: Tensor, factor: Tensor) -> Tensor:
    """Masks scaled about their centers, then shifted: nearest cell, nothing comes from outside.

    Args:
        masks: bool [..., h, w].
        center, shift, factor: [..., 2], (y, x), the first two in cells.
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


class Piloting:
    """Settings of mask-piloted training; called with a batch's ground truth, gives its pilots.

    The defaults are the paper's method (section 5.1). The released code's run scripts are
    ``num_groups=1, budget=None, mask_noise='none', label_flip='any'``.

    Args:
        num_classes: K.
        num_groups: G; None: as many copies as the budget holds.
        budget: most slots P ("100 GT masks"); a random subset of the segments is piloted where an
            image has more. None: no limit.
        num_layers: first decoder layers that get ground truth masks (Table 8); None: all. The
            released code's switch "not all" is 4. Later layers use the pilots' predictions.
        mask_noise: 'point' (the paper's law), 'cell' (the released code's), 'shift', 'scale' or
            'none', see :mod:`mmpanseg.models.transformer_decoders.mask_piloting`.
        noise_ratio: lambda_p.
        label_noise: lambda_l, probability of a label flip.
        label_flip: 'other': to another class (the paper); 'any': to any class (the released code).
        assignment: 'hard': a slot is trained with its own segment; 'matching': bipartite matching
            within every group (Table 9).
    """

    def __init__(self, num_classes: int, num_groups: int | None = None,
                 budget: int | None = 100, num_layers: int | None = None,
                 mask_noise: str = 'point', noise_ratio: float = 0.2, label_noise: float = 0.2,
                 label_flip: str = 'other', assignment: str = 'hard') -> None:
        if num_groups is None and budget is None:
            raise ValueError('piloting: set num_groups, budget or both; with num_groups=None and '
                             'budget=None the number of copies is not known')
        if num_groups is not None and num_groups < 1:
            raise ValueError(f'piloting: num_groups={num_groups} must be at least 1 or None')
        if budget is not None and budget < (num_groups or 1):
            raise ValueError(f'piloting: budget={budget} must hold one segment in each of '
                             f'{num_groups or 1} groups')
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
        self._told = False

    def __call__(self, segments: SegmentBatch) -> 'Pilots':
        """Pilots of a batch; without any ground truth, none (P = 0)."""
        count = segments.max_count
        if self.budget is not None:
            count = min(count, self.budget // (self.num_groups or 1))
        if count < segments.max_count and not self._told:
            self._told = True
            print_log(
                f'An image has {segments.max_count} segments, more than the {count} that the '
                f'budget of {self.budget} mask-piloted queries holds: a random subset is piloted, '
                'here and in later batches (told once).', logger='current')
        groups = self.num_groups or self.budget // max(count, 1)
        return Pilots(self, segments, groups, count)

    def clean(self) -> 'Piloting':
        """The same layers piloted by one copy of every segment, without noise."""
        clean = copy.copy(self)
        clean.num_groups, clean.budget = 1, None
        clean.mask_noise, clean.label_noise = None, 0.0
        return clean

    def noised_labels(self, labels: Tensor) -> Tensor:
        """Labels int64 of any shape, each flipped with probability ``label_noise``."""
        if not self.label_noise:
            return labels
        chosen = torch.rand(labels.shape, device=labels.device) < self.label_noise
        return torch.where(chosen, self.flip(labels, self.num_classes), labels)


class Pilots:
    """The mask-piloted part of one batch.

    Args:
        settings: how to pilot.
        segments: ground truth of the B images.
        num_groups: G.
        count: N.
    """

    def __init__(self, settings: Piloting, segments: SegmentBatch, num_groups: int,
                 count: int) -> None:
        self.settings = settings
        self.segments = segments
        self.num_groups = num_groups
        self.count = count
        self.num_slots = num_groups * count
        self.counts = [min(n, count) for n in segments.counts]
        self.device = segments.labels[0].device
        chosen = [self._choose(n) for n in segments.counts]
        self.chosen = None if count == segments.max_count else pad_labels(chosen)
        labels = pad_labels([x[c] for x, c in zip(segments.labels, chosen)])
        self.labels = settings.noised_labels(labels.repeat(1, num_groups))
        number = torch.arange(count, device=self.device)
        self.used = number < to_device(self.device, self.counts)[0][:, None]
        self._cells: dict[tuple[int, int], Tensor] = {}

    def _choose(self, available: int) -> Tensor:
        """Indices of the piloted segments of an image: all, or a random subset."""
        if available <= self.count:
            return torch.arange(available, device=self.device)
        return torch.randperm(available, device=self.device)[:self.count].sort().values

    def queries(self, table: nn.Embedding) -> Tensor:
        """Initial queries [B, P, C]: embeddings of the noised labels, zero in unused slots."""
        used = self.used.repeat(1, self.num_groups)[..., None]
        return table(self.labels).masked_fill(~used, 0)

    def self_mask(self, num_queries: int) -> Tensor:
        """Bool [P + Q, P + Q], True where self-attention may look.

        Learnable queries see only each other, so they are what they would be without pilots; a
        pilot sees its group and the learnable queries.
        """
        group = torch.arange(self.num_slots + num_queries, device=self.device)
        group = group.div(max(self.count, 1), rounding_mode='floor')
        learnable = torch.arange(len(group), device=self.device) >= self.num_slots
        return learnable | ((group[:, None] == group) & ~learnable[:, None])

    def guides(self, layer: int) -> bool:
        """Whether a decoder layer (from 0) gets ground truth masks."""
        return self.settings.num_layers is None or layer < self.settings.num_layers

    def masks(self, sizes: Sequence[tuple[int, int]]) -> Tensor:
        """Masks for one layer on maps of these sizes, bool [B, P, S], with noise drawn anew."""
        masks = []
        for size in sizes:
            copies = self.cells(size)[:, None].expand(-1, self.num_groups, -1, -1)
            if self.settings.mask_noise is not None:
                copies = self.settings.mask_noise(
                    copies.unflatten(-1, size), self.settings.noise_ratio).flatten(-2)
            masks.append(copies.flatten(1, 2))
        return torch.cat(masks, dim=-1)

    def cells(self, size: tuple[int, int]) -> Tensor:
        """Clean masks bool [B, N, h * w], computed once for a size."""
        if size not in self._cells:
            cells = self.segments.max_pool(size)
            if self.chosen is not None:
                cells = cells.gather(1, self.chosen[..., None].expand(-1, -1, cells.shape[-1]))
                cells = cells & self.used[..., None]
            self._cells[size] = cells
        return self._cells[size]

    def match(self, criterion: MaskCriterion, cls_logits: Tensor, mask_logits: MaskLogits,
              segments: SegmentBatch) -> Matches:
        """Assign the slots' predictions to segments; arguments as in the criterion."""
        return self.settings.assign(self, criterion, cls_logits, mask_logits, segments)

    def match_own(self, criterion: MaskCriterion, cls_logits: Tensor, mask_logits: MaskLogits,
                  segments: SegmentBatch) -> Matches:
        """Every slot is assigned its own segment, in every prediction."""
        rows = [torch.cartesian_prod(
            torch.arange(len(mask_logits)), torch.tensor([image]), torch.arange(self.num_groups),
            torch.arange(count)) for image, count in enumerate(self.counts)]
        layer, image, group, number = to_device(self.device, torch.cat(rows))[0].unbind(1)
        segment = number if self.chosen is None else self.chosen[image, number]
        return Matches(
            MaskRows(layer, image, group * self.count + number, [len(x) for x in rows]), segment)

    def match_groups(self, criterion: MaskCriterion, cls_logits: Tensor, mask_logits: MaskLogits,
                     segments: SegmentBatch) -> Matches:
        """Bipartite matching of each group with all segments of its image."""
        costs = criterion.cost_matrices(cls_logits, mask_logits, segments)
        grouped = costs.unflatten(2, (self.num_groups, self.count)).flatten(1, 2)
        counts = [n for n in segments.counts for _ in range(self.num_groups)]
        found = criterion.assigner(grouped, counts)
        rows = found.rows
        group = rows.image % self.num_groups
        splits = torch.tensor(rows.splits).view(-1, self.num_groups).sum(1).tolist()
        return Matches(
            MaskRows(rows.layer, rows.image // self.num_groups, group * self.count + rows.query,
                     splits), found.segment)


class PilotedRegions(MaskRegions):
    """Where pilots and learnable queries may look: ground truth first, predicted masks after.

    Args:
        pilots: of the batch.
        mask_features, sizes: see :class:`MaskRegions`.
    """

    def __init__(self, pilots: Pilots, mask_features: Tensor,
                 sizes: Sequence[Sequence[tuple[int, int]]]) -> None:
        super().__init__(mask_features, sizes)
        self.pilots = pilots

    def __call__(self, embeds: Tensor, layer: int) -> Tensor:
        if not self.pilots.guides(layer):
            return super().__call__(embeds, layer)
        learnable = super().__call__(embeds[:, self.pilots.num_slots:], layer)
        # bool: no gradients
        given = self.pilots.masks(self.sizes[layer % len(self.sizes)])
        return torch.cat([open_empty(given), learnable], dim=1)


def flip_to_other(labels: Tensor, num_classes: int) -> Tensor:
    """Another class for each label, uniformly; the same where there is only one class."""
    step = torch.randint(1, max(num_classes, 2), labels.shape, device=labels.device)
    return (labels + step) % num_classes


def flip_to_any(labels: Tensor, num_classes: int) -> Tensor:
    """Any class for each label, uniformly, the same one included."""
    return torch.randint(num_classes, labels.shape, device=labels.device)


LABEL_FLIPS = {'other': flip_to_other, 'any': flip_to_any}
ASSIGNMENTS = {'hard': Pilots.match_own, 'matching': Pilots.match_groups}
