"""k-means transformer decoder of kMaX-DeepLab: predictor, layers and decoder.

Queries are cluster centers, updated by two layers at each of three resolutions.

Shapes: B images, Q queries, C channels of queries, C' channels of a map, E channels of embeddings,
K classes, h x w map of P pixels.
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

# initial probability of "no object"
_VOID_PRIOR = 0.9


class KMaXPredictor(BaseModule):
    """Prediction of classes from queries, and of masks as products of queries and unit pixels.

    A constant, which is not a parameter, is added to the "no object" logit, so that its initial
    probability is 0.9.

    Source: Yu et al., kMaX-DeepLab, section 3.3 and appendix.

    Args:
        pixel_channels: width C' of the map.
        num_classes: number of classes K.
        query_channels: width C of the queries.
        channels: width of the pixel branch.
        embed_channels: width E of the embeddings of pixels and masks.
        norm_cfg: config of the normalization layers, mmengine style; default BN with eps 1e-3 and
            momentum 0.01, as published.
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
        """Predict classes and masks.

        Args:
            pixels: map [B, C', h, w].
            cls_queries: queries that classes are predicted from [B, C, Q].
            mask_queries: queries that masks are predicted from [B, C, Q].

        Returns:
            class logits [B, Q, K + 1], mask logits [B, Q, h, w] and unit pixel embeddings
            [B, E, h, w].
        """
        pixel_embeds = F.normalize(self.pixel_convs(pixels), dim=1)
        logits = torch.einsum('bchw,bcq->bqhw', pixel_embeds, self.mask_embed(mask_queries))
        # one norm channel for all queries and pixels
        mask_logits = self.mask_norm(logits.flatten(2)[:, None])[:, 0].view_as(logits)
        cls_logits = self.cls_embed(cls_queries).transpose(1, 2) + self.cls_offset
        return KMaXPrediction(cls_logits, mask_logits, pixel_embeds)


class Interaction(NamedTuple):
    """Updates of a layer besides the self-attention of the queries.

    Attributes:
        kmeans: whether queries are updated by the sum of the pixels of their cluster.
        cross: whether queries attend to pixels, in one softmax with the other queries.
        dual: whether pixels attend to queries.
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
    """Outputs of a layer.

    Attributes:
        queries: updated queries [B, C, Q].
        pixels: map [B, C', h, w], not activated; updated if the layer has a dual path.
        prediction: prediction from the inputs; None if the layer has no predictor.
    """

    queries: Tensor
    pixels: Tensor
    prediction: KMaXPrediction | None


class NormedAttention(BaseModule):
    """Attention of projected queries, keys and values, with norms instead of a scale.

    Args:
        value_channels: width C' of values and output.
        num_heads: number of heads, a divisor of all widths.
        norm_cfg: config of the normalization layers, mmengine style; see :class:`KMaXPredictor`.
    """

    def __init__(self, value_channels: int, num_heads: int = 8, norm_cfg: dict = NORM) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm_similarity = build_norm(norm_cfg, num_heads, dims=2)
        self.norm_value = build_norm(norm_cfg, value_channels, dims=1)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend.

        Args:
            query: projected queries [B, C, n].
            key: projected keys [B, C, m].
            value: projected values [B, C', m].

        Returns:
            attended values [B, C', n], activated.
        """
        weight = self.weights(query, key).to(value.dtype)
        value = value.unflatten(1, (self.num_heads, -1))
        return F.gelu(self.norm_value((value @ weight.transpose(2, 3)).flatten(1, 2)))

    def weights(self, query: Tensor, key: Tensor) -> Tensor:
        """Compute the attention weights [B, heads, n, m] of :meth:`forward`, in float32 or wider.

        The sum over the keys is 1.
        """
        query, key = (x.unflatten(1, (self.num_heads, -1)) for x in (query, key))
        similarity = self.norm_similarity(query.transpose(2, 3) @ key)
        return at_least_float(similarity).softmax(-1)


class KMeansLayer(BaseModule):
    """k-means update of the queries, self-attention and feed-forward network.

    Self-attention reads the queries before their k-means update, as in all released models; the
    figure of the paper shows it after. No gradient passes through the assignment of pixels to
    clusters, so that masks are trained by their own losses only.

    Source: Yu et al., kMaX-DeepLab, section 3.3.

    Args:
        pixel_channels: width C' of the map.
        num_classes: number of classes K.
        query_channels: width C of the queries.
        base_channels: width of attention keys; values and both projected inputs are twice as wide.
        num_heads: number of heads of self-attention.
        ffn_channels: hidden width of the feed-forward network.
        embed_channels: width E of the embeddings of pixels and masks.
        interaction: kind of updates, a key of ``INTERACTIONS``.
        predict: whether to predict also where the updates do not need a prediction
            (cross-attention with deep supervision).
        drop_path: probability in 0..1 of skipping an update in training, sampled for each update
            and image.
        norm_cfg: config of the normalization layers, mmengine style; see :class:`KMaXPredictor`.

    Raises:
        ValueError: ``interaction`` is unknown.
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
        # pixel queries, keys, values; the first two only where they are read
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
        # sums over all pixels of a cluster, and their variance, overflow half precision
        with staying_exact(*([self.update_norm] if self.interaction.kmeans else [])):
            return super()._apply(fn, *args, **kwargs)

    def forward(self, pixels: Tensor, queries: Tensor) -> LayerOutput:
        """Update the queries, and with a dual path the map.

        Args:
            pixels: map [B, C', h, w], not activated.
            queries: queries [B, C, Q].

        Returns:
            updated queries and map, and the prediction from the inputs.
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
            assert prediction is not None  # the constructor builds a predictor
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
    """Sum the values of the pixels of each cluster (kMaX-DeepLab, Equation 6).

    Each pixel belongs to the query with the largest logit, on ties to the first one.

    Args:
        values: values of the pixels [B, C, P].
        logits: mask logits [B, Q, P], which receive no gradient.

    Returns:
        sums [B, C, Q], in float32 or wider.
    """
    with without_autocast(values.device):
        values, cluster = at_least_float(values), logits.detach().argmax(1)
        # exporters cannot trace a custom autograd function, which only training needs
        sums = _ClusterSums.apply if torch.is_grad_enabled() else _sum_clusters
        return sums(values, cluster, logits.shape[1])


def _sum_clusters(values: Tensor, cluster: Tensor, count: int) -> Tensor:
    """Sum values [B, C, P] by cluster index [B, P] -> [B, C, count]."""
    one_hot = values.new_zeros(len(values), count, values.shape[2])
    one_hot.scatter_(1, cluster[:, None], 1.0)
    return values @ one_hot.transpose(1, 2)


class _ClusterSums(torch.autograd.Function):
    """Product with a one-hot matrix that is not stored for the backward pass.

    The gradient of a pixel is that of its cluster, which the cluster index selects.
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
    """k-means layers on the maps of a pixel decoder, coarsest first.

    Source: Yu et al., kMaX-DeepLab, section 3.3 and Table 2.

    Args:
        pixel_channels: widths C' of the pixel decoder's stages, coarsest first.
        num_classes: number of classes K.
        num_layers: number of layers at each stage; stages beyond the last entry are without.
        query_channels: width C of the queries.
        base_channels: width of attention keys, see :class:`KMeansLayer`.
        num_heads: number of heads of self-attention.
        ffn_channels: hidden width of the feed-forward networks.
        embed_channels: width E of the embeddings of pixels and masks.
        interaction: kind of updates, a key of ``INTERACTIONS``.
        deep_supervision: whether every layer predicts, also where its updates do not need it.
        drop_path: probability in 0..1 of skipping an update in training.
        norm_cfg: config of the normalization layers, mmengine style; see :class:`KMaXPredictor`.
        init_cfg: config of the initialization, mmengine style.

    Raises:
        ValueError: there are more entries in ``num_layers`` than stages.
    """

    def __init__(self, pixel_channels: Sequence[int], num_classes: int,
                 num_layers: Sequence[int] = (2, 2, 2), query_channels: int = 256,
                 base_channels: int = 128, num_heads: int = 8, ffn_channels: int = 2048,
                 embed_channels: int = 128, interaction: str = 'k-means',
                 deep_supervision: bool = False, drop_path: float = 0.0, norm_cfg: dict = NORM,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        if len(num_layers) > len(pixel_channels):
            raise ValueError(f'transformer_decoder.num_layers={tuple(num_layers)} has more entries '
                             f'than the pixel decoder has stages ({len(pixel_channels)})')
        self.layers = ModuleList(
            KMeansLayer(width, num_classes, query_channels, base_channels, num_heads, ffn_channels,
                        embed_channels, interaction, deep_supervision, drop_path, norm_cfg)
            for width, count in zip(pixel_channels, num_layers) for _ in range(count))
        ends = [sum(num_layers[:stage + 1]) for stage in range(len(num_layers))]
        self.layers_of = [range(end - count, end) for end, count in zip(ends, num_layers)]

    def start_clustering(self, queries: Tensor) -> 'Clustering':
        """Begin a pass over the stages of the pixel decoder with queries [B, C, Q]."""
        return Clustering(self, queries)


class Clustering:
    """State of one pass over the stages of the pixel decoder.

    Args:
        decoder: decoder whose layers are applied.
        queries: initial queries [B, C, Q].

    Attributes:
        queries: queries after the stages so far [B, C, Q].
        predictions: predictions of the layers so far.
    """

    def __init__(self, decoder: KMeansDecoder, queries: Tensor) -> None:
        self.decoder = decoder
        self.queries = queries
        self.predictions: list[KMaXPrediction] = []

    def update(self, stage: int, pixels: Tensor) -> Tensor:
        """Apply the layers of one stage; called by the pixel decoder after the stage.

        With a dual path the pixel decoder continues with the updated map. (The published code of
        these variants computes the update and then discards it.)

        Args:
            stage: index of the stage, coarsest first.
            pixels: map of the stage [B, C', h, w], not activated.

        Returns:
            map that the next stage reads [B, C', h, w].
        """
        layers = self.decoder.layers_of[stage] if stage < len(self.decoder.layers_of) else ()
        for index in layers:
            self.queries, pixels, prediction = self.decoder.layers[index](pixels, self.queries)
            if prediction is not None:
                self.predictions.append(prediction)
        return pixels
