"""kMaX-DeepLab's decoder: queries as cluster centers, two layers at each of three resolutions.

Shapes: B images, Q queries, C channels.

Shapes: B images, Q queries, C channels, E embedding channels, K classes, h x w map.

Shapes: B images, Q queries, C channels, K classes, h x w map of P pixels.
"""
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule, ModuleList
from torch import Tensor, nn

from mmpanseg.models.layers.conv_norm import NORM, ConvNorm, build_norm
from mmpanseg.models.layers.precision import parameter_dtype, staying_exact, without_autocast
from mmpanseg.models.losses.kmax_criterion import KMaXPrediction
from mmpanseg.registry import MODELS
from mmpanseg.structures.mask_logits import at_least_float
from mmpanseg.utils.config_checks import resolve_option

# probability of "no object" at the start
_VOID_PRIOR = 0.9


class KMaXPredictor(BaseModule):
    """Classes from queries, masks as products of queries and normalized pixel vectors.

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


class Interaction(NamedTuple):
    """Which ways information takes between pixels and queries, besides query self-attention.

    ``kmeans``: pixels go to their cluster's query; ``cross``: queries attend to pixels, in one
    softmax with the other queries; ``dual``: pixels attend to queries.
    """
    kmeans: bool
    cross: bool
    dual: bool


INTERACTIONS = {
    'cross-attention': Interaction(kmeans=False, cross=True, dual=False),
    'dual-path-cross-attention': Interaction(kmeans=False, cross=True, dual=True),
    'k-means': Interaction(kmeans=True, cross=False, dual=False),
    'dual-path-k-means': Interaction(kmeans=True, cross=False, dual=True),
    'dual-path-k-means-cross-attention': Interaction(kmeans=True, cross=True, dual=True),
}


class LayerOutput(NamedTuple):
    """Queries [B, C, Q], map [B, C', h, w] not activated, and what they predict, if anything."""
    queries: Tensor
    pixels: Tensor
    prediction: KMaXPrediction | None


class NormedAttention(BaseModule):
    """Attention between ready-made queries, keys and values, with norms in place of a scale.

    Args:
        value_channels: of values and output.
        num_heads: a divisor of all widths.
        norm_cfg: of both norms.
    """

    def __init__(self, value_channels: int, num_heads: int = 8, norm_cfg: dict = NORM) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm_similarity = build_norm(norm_cfg, num_heads, dims=2)
        self.norm_value = build_norm(norm_cfg, value_channels, dims=1)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend.

        Args:
            query: [B, C, n].
            key, value: [B, C, m] and [B, C', m].

        Returns:
            [B, C', n], activated.
        """
        query, key, value = (x.unflatten(1, (self.num_heads, -1)) for x in (query, key, value))
        similarity = self.norm_similarity(query.transpose(2, 3) @ key)
        weight = at_least_float(similarity).softmax(-1).to(value.dtype)
        return F.gelu(self.norm_value((value @ weight.transpose(2, 3)).flatten(1, 2)))


class KMeansLayer(BaseModule):
    """k-means update of the queries, self-attention, feed-forward network (kMaX-DeepLab 3.3).

    Self-attention reads the queries before their k-means update, as all released models do; the
    paper's figure draws it after. No gradient passes through the assignment of pixels, so masks
    learn from their own losses only.

    Args:
        pixel_channels: of the map.
        num_classes: K.
        query_channels: of the queries.
        base_channels: of attention keys; values and both projected inputs have twice as many.
        num_heads: of self-attention.
        ffn_channels: width of the feed-forward network.
        embed_channels: of mask embeddings.
        interaction: key of ``INTERACTIONS``.
        predict: make a prediction also where the interaction does not need one (cross-attention
            with deep supervision).
        drop_path: probability of leaving out an update, drawn for each update and image.
        norm_cfg: of all norms.
    """

    def __init__(self, pixel_channels: int, num_classes: int, query_channels: int = 256,
                 base_channels: int = 128, num_heads: int = 8, ffn_channels: int = 2048,
                 embed_channels: int = 128, interaction: str = 'k-means', predict: bool = False,
                 drop_path: float = 0.0, norm_cfg: dict = NORM) -> None:
        super().__init__()
        self.interaction = resolve_option('interaction', interaction, INTERACTIONS)
        kmeans, cross, dual = self.interaction
        inner = 2 * base_channels
        key = base_channels
        self.query_splits = (key, key, inner)
        # values come last; keys and pixel queries only where they are read
        self.pixel_splits = (key if dual else 0, key if cross or dual else 0, inner)

        def conv(width: int, out: int, dims: int = 1, **kwargs) -> ConvNorm:
            return ConvNorm(width, out, dims=dims, norm_cfg=norm_cfg, **kwargs)

        self.query_conv = conv(query_channels, inner)
        self.pixel_conv = conv(pixel_channels, inner, dims=2)
        self.query_proj = conv(inner, sum(self.query_splits), act=False, std=inner ** -0.5)
        self.pixel_proj = conv(inner, sum(self.pixel_splits), dims=2, act=False,
                               std=inner ** -0.5)
        self.self_attn = NormedAttention(inner, num_heads, norm_cfg)
        self.self_attn_out = conv(inner, query_channels, act=False, scale=0.0)
        self.ffn = nn.Sequential(
            conv(query_channels, ffn_channels),
            conv(ffn_channels, query_channels, act=False, scale=0.0))
        if kmeans or predict:
            self.predictor = KMaXPredictor(
                inner, num_classes, inner, inner, embed_channels, norm_cfg)
        self.predicts = kmeans or predict
        if kmeans:
            self.update_norm = build_norm(norm_cfg, inner, dims=1)
            self.update_out = conv(inner, query_channels, act=False, scale=0.0)
        if dual:
            self.pixel_attn = NormedAttention(inner, num_heads, norm_cfg)
            self.pixel_out = conv(inner, pixel_channels, dims=2, act=False, scale=0.0)
        self.drop_path = DropPath(drop_path)

    def _apply(self, fn: Callable, *args, **kwargs) -> 'KMeansLayer':
        # sums over all pixels of a cluster, and their variance, are beyond half precision
        with staying_exact(*([self.update_norm] if self.interaction.kmeans else [])):
            return super()._apply(fn, *args, **kwargs)

    def forward(self, pixels: Tensor, queries: Tensor) -> LayerOutput:
        """Update the queries, and on two paths the map.

        Args:
            pixels: [B, C', h, w], not activated.
            queries: [B, C, Q].
        """
        kmeans, cross, dual = self.interaction
        pixel_space = self.pixel_conv(F.gelu(pixels))
        query_space = self.query_conv(queries)
        pixel_query, pixel_key, pixel_value = (
            self.pixel_proj(pixel_space).flatten(2).split(self.pixel_splits, 1))
        query, key, value = self.query_proj(query_space).split(self.query_splits, 1)
        prediction = None
        if self.predicts:
            prediction = self.predictor(pixel_space, query_space, query_space)
        if dual:
            update = self.pixel_out(
                self.pixel_attn(pixel_query, key, value).view_as(pixel_space))
            pixels = pixels + self.drop_path(update)
        if kmeans:
            update = self.update_norm(
                sum_of_clusters(pixel_value, prediction.mask_logits.flatten(2)))
            update = self.update_out(update.to(parameter_dtype(self.update_out)))
            queries = queries + self.drop_path(update)
        if cross:
            key, value = torch.cat([pixel_key, key], 2), torch.cat([pixel_value, value], 2)
        update = self.self_attn_out(self.self_attn(query, key, value))
        queries = F.gelu(queries + self.drop_path(update))
        queries = F.gelu(queries + self.drop_path(self.ffn(queries)))
        return LayerOutput(queries, pixels, prediction)


def sum_of_clusters(values: Tensor, logits: Tensor) -> Tensor:
    """Sums of the values of each cluster's pixels, [B, C, Q], in float32 (equation 6).

    Each pixel belongs to the query with its largest logit, the first one on ties.

    Args:
        values: [B, C, P].
        logits: [B, Q, P]; no gradient comes back to them.
    """
    with without_autocast(values.device):
        values, cluster = at_least_float(values), logits.detach().argmax(1)
        # tracers of inference cannot look into a function with a gradient of its own
        sums = _ClusterSums.apply if torch.is_grad_enabled() else _sum_clusters
        return sums(values, cluster, logits.shape[1])


def _sum_clusters(values: Tensor, cluster: Tensor, count: int) -> Tensor:
    """Sums [B, C, Q] of values [B, C, P] over the pixels of each cluster, numbers [B, P]."""
    one_hot = values.new_zeros(len(values), count, values.shape[2])
    one_hot.scatter_(1, cluster[:, None], 1.0)
    return values @ one_hot.transpose(1, 2)


class _ClusterSums(torch.autograd.Function):
    """Products with a one-hot matrix that lives for the forward pass only.

    The gradient of a pixel is that of its cluster: for it the clusters' numbers are enough.
    """

    @staticmethod
    def forward(ctx, values: Tensor, cluster: Tensor, count: int) -> Tensor:
        ctx.save_for_backward(cluster)
        return _sum_clusters(values, cluster, count)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple:
        cluster, = ctx.saved_tensors
        return grad.gather(2, cluster[:, None].expand(-1, grad.shape[1], -1)), None, None


@MODELS.register_module()
class KMeansDecoder(BaseModule):
    """Layers that cluster the maps of a pixel decoder, coarsest first (kMaX-DeepLab Table 2).

    Args:
        pixel_channels: of the pixel decoder's stages, coarsest first.
        num_classes: K.
        num_layers: at each stage; stages beyond the last entry have none.
        query_channels, base_channels, num_heads, ffn_channels, embed_channels, interaction,
            drop_path, norm_cfg: see :class:`KMeansLayer`.
        deep_supervision: every layer predicts also where its interaction does not need it.
    """

    def __init__(self, pixel_channels: Sequence[int], num_classes: int,
                 num_layers: Sequence[int] = (2, 2, 2), query_channels: int = 256,
                 base_channels: int = 128, num_heads: int = 8, ffn_channels: int = 2048,
                 embed_channels: int = 128, interaction: str = 'k-means',
                 deep_supervision: bool = False, drop_path: float = 0.0, norm_cfg: dict = NORM,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        if len(num_layers) > len(pixel_channels):
            raise ValueError(f'transformer_decoder.num_layers={tuple(num_layers)} names more '
                             f'stages than the pixel decoder has ({len(pixel_channels)})')
        self.layers = ModuleList(
            KMeansLayer(width, num_classes, query_channels, base_channels, num_heads, ffn_channels,
                        embed_channels, interaction, deep_supervision, drop_path, norm_cfg)
            for width, count in zip(pixel_channels, num_layers) for _ in range(count))
        ends = [sum(num_layers[:stage + 1]) for stage in range(len(num_layers))]
        self.layers_of = [range(end - count, end) for end, count in zip(ends, num_layers)]

    def start(self, queries: Tensor) -> 'Clustering':
        """A pass over the stages that begins with queries [B, C, Q]."""
        return Clustering(self, queries)


class Clustering:
    """Queries on their way through the stages.

    Attributes:
        queries: as they are by now, [B, C, Q].
        predictions: those of the layers so far.
    """

    def __init__(self, decoder: KMeansDecoder, queries: Tensor) -> None:
        self.decoder = decoder
        self.queries = queries
        self.predictions: list[KMaXPrediction] = []

    def visit(self, stage: int, pixels: Tensor) -> Tensor:
        """Update the queries from a stage's map [B, C', h, w]; gives the map back.

        On a dual path the map has changed, and the pixel decoder goes on with that. (The published
        code of these variants computes the change and then drops it.)
        """
        decoder = self.decoder
        for index in decoder.layers_of[stage] if stage < len(decoder.layers_of) else ():
            self.queries, pixels, prediction = decoder.layers[index](pixels, self.queries)
            if prediction is not None:
                self.predictions.append(prediction)
        return pixels
