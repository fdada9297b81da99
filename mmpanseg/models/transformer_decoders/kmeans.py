"""kMaX-DeepLab's decoder: queries as cluster centres, two layers at each of three resolutions.

Shapes: B images, Q queries, C channels.
"""
from typing import Optional, Sequence

from mmengine.model import BaseModule, ModuleList
from torch import Tensor

from mmpanseg.models.layers.conv_norm import NORM
from mmpanseg.models.transformer_decoders.kmeans_layer import KMeansLayer
from mmpanseg.registry import MODELS
from mmpanseg.structures.kmax_prediction import KMaXPrediction


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
                 init_cfg: Optional[dict] = None) -> None:
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
