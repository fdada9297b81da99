"""Axial attention with relative position encodings (MaX-DeepLab, Axial-DeepLab).

Shapes: N sequences of length n, B images, C channels, h heads, d_k and d_v channels of keys and
values of all heads together.
"""
import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmpanseg.models.layers.conv_norm import NORM, ConvNorm, build_norm, truncated_normal_
from mmpanseg.structures.mask_logits import at_least_float

# as published: sequences of up to 255 positions
MAX_OFFSET = 254


class RelativePositions(BaseModule):
    """Learned embedding of the offset between two positions of a sequence.

    The table has a fixed size, so that one set of parameters serves sequences of every length.
    Offsets beyond ``max_offset`` share the embedding of the largest one.

    Args:
        channels: width of an embedding.
        max_offset: largest offset with an embedding of its own.
    """

    def __init__(self, channels: int, max_offset: int = MAX_OFFSET) -> None:
        super().__init__()
        self.max_offset = max_offset
        self.embeddings = nn.Embedding(2 * max_offset + 1, channels)
        truncated_normal_(self.embeddings.weight, 1.0)

    def forward(self, length: int) -> Tensor:
        """Look up the embeddings of all pairs of positions.

        Args:
            length: number of positions n.

        Returns:
            embeddings [n, n, C] of key position (second) minus query position (first).
        """
        position = torch.arange(length, device=self.embeddings.weight.device)
        offset = position - position[:, None]
        limit = self.max_offset
        return self.embeddings(offset.clamp(-limit, limit) + limit)


class AxisAttention(BaseModule):
    """Self-attention of sequences with relative positions in similarities and values.

    The similarity is the sum of three normalized parts: query with key, query with position and key
    with position; the norms replace the usual scale. The softmax is computed in float32.

    Args:
        in_channels: width C of the input.
        key_channels: width d_k of queries and keys, a multiple of ``num_heads``.
        value_channels: width d_v of values and output, a multiple of ``num_heads``.
        num_heads: number of heads h.
        norm_cfg: config of the normalization layers, mmengine style; default BN with eps 1e-3 and
            momentum 0.01, as published.

    Raises:
        ValueError: a width is not a multiple of ``num_heads``.
    """

    def __init__(self, in_channels: int, key_channels: int, value_channels: int,
                 num_heads: int = 8, norm_cfg: dict = NORM) -> None:
        super().__init__()
        for name, channels in (('key_channels', key_channels), ('value_channels', value_channels)):
            if channels % num_heads:
                raise ValueError(f'{name}={channels} must be a multiple of num_heads={num_heads}')
        self.num_heads = num_heads
        self.splits = (key_channels, key_channels, value_channels)
        self.qkv = ConvNorm(in_channels, sum(self.splits), dims=1, norm_cfg=norm_cfg, act=False,
                            std=in_channels ** -0.5)
        self.query_rpe = RelativePositions(key_channels // num_heads)
        self.key_rpe = RelativePositions(key_channels // num_heads)
        self.value_rpe = RelativePositions(value_channels // num_heads)
        self.norm_similarity = build_norm(norm_cfg, 3 * num_heads, dims=2)
        self.norm_output = build_norm(norm_cfg, 2 * value_channels, dims=1)

    def forward(self, x: Tensor) -> Tensor:
        """Attend within each sequence: [N, C, n] -> [N, d_v, n]."""
        length = x.shape[-1]
        query, key, value = (part.unflatten(1, (self.num_heads, -1))
                             for part in self.qkv(x).split(self.splits, 1))
        similarity = torch.cat([
            torch.einsum('nhdl,nhdm->nhlm', query, key),
            torch.einsum('nhdl,lmd->nhlm', query, self.query_rpe(length)),
            torch.einsum('nhdm,lmd->nhlm', key, self.key_rpe(length))], 1)
        similarity = self.norm_similarity(similarity).unflatten(1, (3, -1)).sum(1)
        weight = at_least_float(similarity).softmax(-1).to(value.dtype)
        output = torch.cat([
            torch.einsum('nhlm,nhdm->nhdl', weight, value).flatten(1, 2),
            torch.einsum('nhlm,lmd->nhdl', weight, self.value_rpe(length)).flatten(1, 2)], 1)
        return self.norm_output(output).unflatten(1, (2, -1)).sum(1)


class AxialAttention(BaseModule):
    """Attention along every column, then along every row, of maps of any size.

    With a stride, each direction is computed at full resolution and subsampled afterwards.

    Source: Wang et al., MaX-DeepLab, section 3.4.

    Args:
        in_channels: width C of the input.
        key_channels: width d_k of queries and keys, a multiple of ``num_heads``.
        value_channels: width d_v of values and output, a multiple of ``num_heads``.
        num_heads: number of heads h.
        stride: step between the rows and columns that are kept.
        norm_cfg: config of the normalization layers, mmengine style; see :class:`AxisAttention`.
    """

    def __init__(self, in_channels: int, key_channels: int, value_channels: int,
                 num_heads: int = 8, stride: int = 1, norm_cfg: dict = NORM) -> None:
        super().__init__()
        self.stride = stride
        self.height_axis = AxisAttention(
            in_channels, key_channels, value_channels, num_heads, norm_cfg)
        self.width_axis = AxisAttention(
            value_channels, key_channels, value_channels, num_heads, norm_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, d_v, ceil(H / stride), ceil(W / stride)]."""
        x = attend(self.height_axis, x.transpose(2, 3)).transpose(2, 3)[:, :, ::self.stride]
        return attend(self.width_axis, x)[..., ::self.stride]


def attend(axis: AxisAttention, x: Tensor) -> Tensor:
    """Apply ``axis`` to every row of maps [B, C, H, W] -> [B, d_v, H, W]."""
    batch = len(x)
    rows = axis(x.transpose(1, 2).flatten(0, 1))
    return rows.unflatten(0, (batch, -1)).transpose(1, 2)
