"""kMaX-DeepLab's head: pixel decoder, k-means decoder, predictions, auxiliary semantic head.

Shapes: B images, Q queries, C channels, K classes, L predictions (decoder layers + 1).
"""
from collections.abc import Sequence

import torch
from mmdet.structures import SampleList
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmpanseg.models.heads.base import batch_segments
from mmpanseg.models.layers.conv_norm import NORM, ConvNorm, truncated_normal_
from mmpanseg.models.losses.kmax_criterion import KMaXPrediction
from mmpanseg.models.transformer_decoders.kmeans_decoder import KMaXPredictor
from mmpanseg.registry import MODELS
from mmpanseg.structures.mask_logits import DenseMaskLogits, MaskLogits, at_least_float


@MODELS.register_module()
class KMaXDeepLabHead(BaseModule):
    """Mask classification whose queries are the centers of a clustering (kMaX-DeepLab section 3).

    The defaults are those of the PyTorch version for COCO. Weights of the TensorFlow version need
    ``dilation=2`` in the pixel decoder, ``low_level_act`` in the semantic head, and
    ``align_corners='always'`` in both, in the criterion and in the fusion head; to train as it
    does, ``conv_init='tensorflow'`` as well.

    Args:
        in_channels: channels of the backbone's maps, high resolution first: res2 .. res5, or stem
            and res2 .. res5 for a pixel decoder of five stages.
        num_things_classes, num_stuff_classes: set once, at the segmentor.
        num_queries: Q.
        num_train_queries: with drop-query regularization, how many of them, drawn anew in every
            training iteration, take part; all do in inference.
        query_channels: C of the queries.
        channels, embed_channels: of the last prediction's pixel branch and embeddings; the latter
            of the layers' too.
        norm_cfg: of all norms. SyncBN is what is published.
        conv_init: initialization of the convolutions, that of the 'pytorch' or 'tensorflow' version.
        pixel_decoder, transformer_decoder, criterion: configs; widths are filled in from here.
        semantic_head: config of the auxiliary head, or None for none.

    Raises:
        ValueError: a setting is not possible; the text names it.
    """

    def __init__(self, in_channels: Sequence[int], num_things_classes: int,
                 num_stuff_classes: int, num_queries: int = 128,
                 num_train_queries: int | None = None, query_channels: int = 256,
                 channels: int = 256, embed_channels: int = 128, norm_cfg: dict = NORM,
                 conv_init: str = 'pytorch',
                 pixel_decoder: dict = dict(type='mmpanseg.KMaXPixelDecoder'),
                 transformer_decoder: dict = dict(type='mmpanseg.KMeansDecoder'),
                 semantic_head: dict | None = dict(type='mmpanseg.KMaXSemanticHead'),
                 criterion: dict = dict(type='mmpanseg.KMaXCriterion'),
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        if num_train_queries is not None and not 0 < num_train_queries <= num_queries:
            raise ValueError(f'num_train_queries={num_train_queries} must lie between 1 and '
                             f'num_queries={num_queries}; None keeps all of them')
        self.num_classes = num_classes = num_things_classes + num_stuff_classes
        self.num_train_queries = num_train_queries
        self.pixel_decoder = MODELS.build(pixel_decoder, default_args=dict(
            in_channels=in_channels, norm_cfg=norm_cfg))
        widths = self.pixel_decoder.out_channels
        self.transformer_decoder = MODELS.build(transformer_decoder, default_args=dict(
            pixel_channels=widths[:3], num_classes=num_classes, query_channels=query_channels,
            embed_channels=embed_channels, norm_cfg=norm_cfg))
        self.query_feat = nn.Embedding(num_queries, query_channels)
        truncated_normal_(self.query_feat.weight, 1.0)
        self.cls_proj, self.mask_proj = (
            ConvNorm(query_channels, query_channels, dims=1, norm_cfg=norm_cfg) for _ in range(2))
        self.predictor = KMaXPredictor(
            widths[-1], num_classes, query_channels, channels, embed_channels, norm_cfg)
        self.semantic_head = None if semantic_head is None else MODELS.build(
            semantic_head, default_args=dict(
                in_channels=in_channels, num_classes=num_classes, norm_cfg=norm_cfg))
        self.criterion = MODELS.build(criterion, default_args=dict(num_classes=num_classes))
        if conv_init != 'pytorch':
            for module in self.modules():
                if isinstance(module, ConvNorm):
                    module.reset_parameters(conv_init)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, MaskLogits]:
        """All predictions.

        Args:
            features: backbone maps, high resolution first.

        Returns:
            class logits [L, B, Q, K + 1] and L mask logits, each at the size of its own map; the
            last is the result.
        """
        predictions = self.decode(features)
        return (torch.stack([prediction.cls_logits for prediction in predictions]),
                DenseMaskLogits([prediction.mask_logits for prediction in predictions]))

    def loss(self, features: Sequence[Tensor],
             batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Losses by name against the samples' ``gt_segments``."""
        semantic = None if self.semantic_head is None else self.semantic_head(features)
        return self.criterion(
            self.decode(features), semantic, batch_segments(batch_data_samples))

    def predict(self, features: Sequence[Tensor]) -> tuple[Tensor, MaskLogits]:
        """Class logits [B, Q, K + 1] and mask logits of the last prediction only."""
        last = self.decode(features)[-1]
        return at_least_float(last.cls_logits), DenseMaskLogits([last.mask_logits]).float()

    def decode(self, features: Sequence[Tensor]) -> list[KMaXPrediction]:
        """Predictions of the decoder's layers, if they make any, and the last one."""
        clustering = self.transformer_decoder.start(self.queries(len(features[0])))
        pixels, _ = self.pixel_decoder(features, clustering.visit)
        queries = clustering.queries
        last = self.predictor(pixels, self.cls_proj(queries), self.mask_proj(queries))
        return [*clustering.predictions, last]

    def queries(self, batch: int) -> Tensor:
        """What the queries start from, [B, C, Q]."""
        table = self.query_feat.weight
        if self.training and self.num_train_queries is not None:
            table = table[torch.randperm(len(table), device=table.device)[:self.num_train_queries]]
        return table.T.expand(batch, -1, -1)
