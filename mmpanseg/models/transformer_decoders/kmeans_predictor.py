"""From pixels and queries to classes and masks: kMaX-DeepLab's prediction head.

Shapes: B images, Q queries, C channels, E embedding channels, K classes, h x w map.
"""
import math

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmpanseg.models.layers.conv_norm import NORM, ConvNorm, build_norm
from mmpanseg.structures.kmax_prediction import KMaXPrediction

# probability of "no object" at the start
_VOID_PRIOR = 0.9


class KMaXPredictor(BaseModule):
    """Classes from queries, masks as products of queries and normalised pixel vectors.

    A constant is added to the "no object" logit, so that a new model gives it the probability 0.9;
    it is no parameter.

    Args:
        pixel_channels: of the map.
        num_classes: K.
        query_channels: of the queries.
        channels: of the pixel branch.
        embed_channels: E.
        norm_cfg: of all norms.
    """

    def __init__(self, pixel_channels: int, num_classes: int, query_channels: int = 256,
                 channels: int = 256, embed_channels: int = 128, norm_cfg: dict = NORM) -> None:
        super().__init__()
        self.pixel_convs = nn.Sequential(
            ConvNorm(pixel_channels, pixel_channels, 5, depthwise=True, norm_cfg=norm_cfg),
            ConvNorm(pixel_channels, channels, norm_cfg=norm_cfg),
            ConvNorm(channels, embed_channels, bias=True, norm_cfg=norm_cfg, act=False, std=0.01))
        self.mask_embed = ConvNorm(
            query_channels, embed_channels, dims=1, norm_cfg=norm_cfg, act=False)
        self.mask_norm = build_norm(norm_cfg, 1, dims=2, scale=0.1)
        self.cls_embed = ConvNorm(query_channels, num_classes + 1, dims=1, bias=True,
                                  norm_cfg=None, act=False, std=0.01)
        offset = torch.zeros(num_classes + 1)
        offset[-1] = math.log(num_classes * _VOID_PRIOR / (1 - _VOID_PRIOR))
        self.register_buffer('cls_offset', offset, persistent=False)

    def forward(self, pixels: Tensor, cls_queries: Tensor, mask_queries: Tensor) -> KMaXPrediction:
        """Predict from a map [B, C, h, w] and queries [B, C, Q]."""
        pixel_embeds = F.normalize(self.pixel_convs(pixels), dim=1)
        logits = torch.einsum('bchw,bcq->bqhw', pixel_embeds, self.mask_embed(mask_queries))
        # one norm for all queries and pixels
        mask_logits = self.mask_norm(logits.flatten(2)[:, None])[:, 0].view_as(logits)
        cls_logits = self.cls_embed(cls_queries).transpose(1, 2) + self.cls_offset
        return KMaXPrediction(cls_logits, mask_logits, pixel_embeds)
