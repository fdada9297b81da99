"""Location decoder of Panoptic SegFormer.

Sources: Li et al., Panoptic SegFormer, arXiv v1, section 3.3; CVPR version, appendix B.2.

Shapes: B images, N queries, C channels, L decoder layers, K classes, D coordinates of a location.
"""
from typing import NamedTuple

import torch
from mmdet.models.layers import inverse_sigmoid
from mmengine.model import BaseModule, ModuleList, bias_init_with_prob, constant_init
from torch import Tensor, nn

from mmpanseg.models.layers.deformable_attention import DeformableDETRDecoder, layer_config
from mmpanseg.models.pixel_decoders.deformable_tokens import Tokens
from mmpanseg.registry import MODELS
from mmpanseg.structures.mask_logits import at_least_float
from mmpanseg.utils.config_checks import resolve_option

# Kinds of locations and their number of coordinates D, all relative to the size of the image.
LOCATIONS = {
    'box': 4,  # center x, y, width, height of the bounding box
    'center_of_mass': 2,  # center of mass x, y
    'center_scale': 4,  # center of mass x, y, width and height of the segment's extent
}


class LocationOutputs(NamedTuple):
    """Outputs of the location decoder.

    Attributes:
        queries: query features after every layer [L, B, N, C].
        references: the reference in 0..1 that each layer started from, L tensors [B, N, 2 or 4]: a
            point for the first layer, then the detached location of the layer before.
    """

    queries: Tensor
    references: list[Tensor]


@MODELS.register_module()
class LocationDecoder(BaseModule):
    """Deformable decoder that predicts a location in the image for every query.

    Args:
        num_queries: number of queries N.
        num_classes: number of classes K of the classification branches (sigmoid), one branch per
            layer; 0: no branches.
        channels: width C of queries and tokens.
        num_levels: number of levels of the tokens.
        location: kind of location, a key of ``LOCATIONS``.
        refine: whether every layer has a location branch that moves the reference of the next one
            (iterative refinement, CVPR version). Otherwise the references stay, and one branch
            reads the last queries, for the loss only (arXiv v1).
        num_layers: number of decoder layers L.
        num_heads: number of heads of every attention, a divisor of ``channels``.
        num_points: number of sampled points per head and level of deformable attention.
        feedforward_channels: hidden width of the feed-forward networks.
        dropout: probability of dropout in all parts of the layers.
        init_cfg: config of the initialization, mmengine style.

    Raises:
        ValueError: ``location`` is unknown.
    """

    def __init__(self, num_queries: int, num_classes: int, channels: int = 256,
                 num_levels: int = 4, location: str = 'box', refine: bool = True,
                 num_layers: int = 6, num_heads: int = 8, num_points: int = 4,
                 feedforward_channels: int = 1024, dropout: float = 0.1,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        location_size = resolve_option('location', location, LOCATIONS)
        self.channels = channels
        self.num_classes = num_classes
        self.refine = refine
        # the first half of the channels is the position encoding, the second the query features
        self.query_embed = nn.Embedding(num_queries, 2 * channels)
        self.reference_points = nn.Linear(channels, 2)
        deformable, plain, feedforward = layer_config(
            channels, num_heads, num_levels, num_points, feedforward_channels, dropout)
        self.decoder = DeformableDETRDecoder(
            num_layers, dict(self_attn_cfg=plain, cross_attn_cfg=deformable, ffn_cfg=feedforward),
            post_norm_cfg=None, return_intermediate=True)
        self.reg_branches = ModuleList(
            location_branch(channels, location_size) for _ in range(num_layers if refine else 1))
        self.cls_branches = ModuleList(
            nn.Linear(channels, num_classes) for _ in range(num_layers if num_classes else 0))

    def init_weights(self) -> None:
        super().init_weights()
        nn.init.xavier_uniform_(self.reference_points.weight)
        nn.init.zeros_(self.reference_points.bias)
        for branch in self.cls_branches:
            nn.init.constant_(branch.bias, bias_init_with_prob(0.01))
        for branch in self.reg_branches:
            constant_init(branch[-1], 0, bias=0)
        # small boxes at the start of training
        nn.init.constant_(self.reg_branches[0][-1].bias[2:], -2.0)

    def forward(self, tokens: Tokens) -> LocationOutputs:
        """Decode all queries.

        Args:
            tokens: encoded tokens of all levels.

        Returns:
            query features and references of all layers.
        """
        batch = len(tokens.memory)
        query_pos, query = (
            half.expand(batch, -1, -1) for half in self.query_embed.weight.chunk(2, dim=1))
        # coordinates in single precision or wider: half precision is too coarse
        points = at_least_float(self.reference_points(query_pos)).sigmoid()
        queries, references = self.decoder(
            query=query, query_pos=query_pos, value=tokens.memory,
            key_padding_mask=tokens.padding_mask, reference_points=points,
            spatial_shapes=tokens.sizes, level_start_index=None,
            valid_ratios=tokens.valid_ratios, reg_branches=self.reg_branches
            if self.refine else None)
        return LocationOutputs(queries, [points, *references[:-1]])

    def classify(self, queries: Tensor) -> Tensor:
        """Compute class logits [L, B, N, K] of query features [L, B, N, C]."""
        return torch.stack([
            branch(query) for branch, query in zip(self.cls_branches, queries, strict=True)])

    def locate(self, located: LocationOutputs) -> Tensor:
        """Compute the locations of all layers with gradients.

        Args:
            located: outputs of this decoder.

        Returns:
            locations in 0..1 [L, B, N, D]; without refinement those of the last layer
            [1, B, N, D].
        """
        pairs = zip(located.queries, located.references)
        return torch.stack([
            move_reference(branch(query), reference) for branch, (query, reference) in zip(
                self.reg_branches, pairs if self.refine else [list(pairs)[-1]], strict=True)])

    def locate_last(self, located: LocationOutputs) -> Tensor:
        """Compute the locations of the last layer only, in 0..1 [B, N, D]."""
        return move_reference(
            self.reg_branches[-1](located.queries[-1]), located.references[-1])


def move_reference(offset: Tensor, reference: Tensor) -> Tensor:
    """Add a predicted offset to a reference in logit space.

    Args:
        offset: predicted offsets [..., D].
        reference: references in 0..1 [..., 2 or D]; with 2 coordinates, the others of the location
            are the offsets alone.

    Returns:
        sigmoid(offset + inverse sigmoid of the reference), in 0..1 [..., D].
    """
    moved = inverse_sigmoid(reference)
    if reference.shape[-1] < offset.shape[-1]:
        moved = nn.functional.pad(moved, (0, offset.shape[-1] - reference.shape[-1]))
    return (offset + moved).sigmoid()


def location_branch(channels: int, location_size: int) -> nn.Sequential:
    """Build an MLP of three layers: [..., C] -> [..., D].

    Args:
        channels: width C of the query features.
        location_size: number of coordinates D.
    """
    return nn.Sequential(
        nn.Linear(channels, channels), nn.ReLU(),
        nn.Linear(channels, channels), nn.ReLU(),
        nn.Linear(channels, location_size))
