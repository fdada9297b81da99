"""Location decoder of Panoptic SegFormer (arXiv v1 section 3.3; CVPR appendix B.2).

Shapes: B images, N queries, C channels, L decoder layers, K classes, D numbers of a location.
"""
from typing import NamedTuple

import torch
from mmdet.models.layers import inverse_sigmoid
from mmengine.model import BaseModule, ModuleList, bias_init_with_prob, constant_init
from torch import Tensor, nn

from mmpanseg.models.layers.deformable_attention import DeformableDecoder, layer_config
from mmpanseg.models.pixel_decoders.deformable_tokens import Tokens
from mmpanseg.registry import MODELS
from mmpanseg.structures.mask_logits import at_least_float
from mmpanseg.utils.config_checks import resolve_option

# What a location is, and of how many numbers it consists, all relative to the image's size.
LOCATIONS = {
    'box': 4,  # center x, y, width, height of the box around a segment
    'center_of_mass': 2,  # center of mass x, y
    'center_scale': 4,  # center of mass x, y, width and height of the segment's extent
}


class LocationOutputs(NamedTuple):
    """Queries after every layer, and the place each layer looked around.

    ``queries``: [L, B, N, C]; ``references``: L tensors [B, N, 2 or 4] in 0..1, the reference that
    each layer started from: a point at first, then the (detached) location of the layer before.
    """
    queries: Tensor
    references: list[Tensor]


@MODELS.register_module()
class LocationDecoder(BaseModule):
    """Deformable decoder that gives queries a place in the image.

    Args:
        num_queries: N.
        num_classes: K of the classification branches (sigmoid); 0 = none.
        channels: C.
        num_levels: levels of the tokens.
        location: what is predicted, one of ``LOCATIONS``.
        refine: iterative refinement: every layer has a location branch that moves the reference
            of the next one (CVPR version). Without, one branch reads the last queries, is needed
            for the loss only, and the reference points stay (first version).
        num_layers, num_heads, num_points, feedforward_channels, dropout: of the decoder.
    """

    def __init__(self, num_queries: int, num_classes: int, channels: int = 256,
                 num_levels: int = 4, location: str = 'box', refine: bool = True,
                 num_layers: int = 6, num_heads: int = 8, num_points: int = 4,
                 feedforward_channels: int = 1024, dropout: float = 0.1,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        numbers = resolve_option('location', location, LOCATIONS)
        self.channels = channels
        self.num_classes = num_classes
        self.refine = refine
        # the first half of the channels is the position, the second the content
        self.query_embed = nn.Embedding(num_queries, 2 * channels)
        self.reference_points = nn.Linear(channels, 2)
        deformable, plain, feedforward = layer_config(
            channels, num_heads, num_levels, num_points, feedforward_channels, dropout)
        self.decoder = DeformableDecoder(
            num_layers, dict(self_attn_cfg=plain, cross_attn_cfg=deformable, ffn_cfg=feedforward),
            post_norm_cfg=None, return_intermediate=True)
        self.reg_branches = ModuleList(
            box_branch(channels, numbers) for _ in range(num_layers if refine else 1))
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
        # small boxes to begin with
        nn.init.constant_(self.reg_branches[0][-1].bias[2:], -2.0)

    def forward(self, tokens: Tokens) -> LocationOutputs:
        """Decode all queries."""
        batch = len(tokens.memory)
        position, content = (
            half.expand(batch, -1, -1) for half in self.query_embed.weight.chunk(2, dim=1))
        # places in single precision at least: half is too coarse for coordinates
        points = at_least_float(self.reference_points(position)).sigmoid()
        queries, references = self.decoder(
            query=content, query_pos=position, value=tokens.memory,
            key_padding_mask=tokens.padding, reference_points=points,
            spatial_shapes=tokens.sizes, level_start_index=None,
            valid_ratios=tokens.valid_ratios, reg_branches=self.reg_branches
            if self.refine else None)
        return LocationOutputs(queries, [points, *references[:-1]])

    def classify(self, queries: Tensor) -> Tensor:
        """Class logits [L, B, N, K] of the queries of all layers."""
        return torch.stack([
            branch(query) for branch, query in zip(self.cls_branches, queries, strict=True)])

    def locate(self, located: LocationOutputs) -> Tensor:
        """Locations [L, B, N, D] in 0..1 with gradient; without refinement of the last layer."""
        pairs = zip(located.queries, located.references)
        return torch.stack([
            move_reference(branch(query), reference) for branch, (query, reference) in zip(
                self.reg_branches, pairs if self.refine else [list(pairs)[-1]], strict=True)])

    def locate_last(self, located: LocationOutputs) -> Tensor:
        """Those of the last layer only, [B, N, D]."""
        return move_reference(
            self.reg_branches[-1](located.queries[-1]), located.references[-1])


def move_reference(offset: Tensor, reference: Tensor) -> Tensor:
    """Location sigmoid(offset + inverse sigmoid of the reference): [..., D], [..., 2 or D] -> 0..1.

    A reference of two numbers moves the center only.
    """
    moved = inverse_sigmoid(reference)
    if reference.shape[-1] < offset.shape[-1]:
        moved = nn.functional.pad(moved, (0, offset.shape[-1] - reference.shape[-1]))
    return (offset + moved).sigmoid()


def box_branch(channels: int, numbers: int) -> nn.Sequential:
    """MLP of three layers: [..., C] -> [..., D]."""
    return nn.Sequential(
        nn.Linear(channels, channels), nn.ReLU(),
        nn.Linear(channels, channels), nn.ReLU(),
        nn.Linear(channels, numbers))
