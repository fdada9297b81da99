"""kMaX-DeepLab's head: pixel decoder, k-means decoder, predictor, auxiliary semantic head.

Shapes: B images, Q queries, C channels, K classes, L predictions (decoder layers + 1).
"""
from collections.abc import Sequence

import torch
from mmdet.structures import SampleList
from torch import Tensor, nn

from mmpanseg.models.heads.base import PanopticHead
from mmpanseg.models.layers.conv_norm import NORM, ConvNorm, truncated_normal_
from mmpanseg.models.losses.kmax_criterion import KMaXPrediction
from mmpanseg.models.transformer_decoders.kmeans_decoder import KMaXPredictor
from mmpanseg.registry import MODELS
from mmpanseg.structures.mask_logits import DenseMaskLogits, MaskLogits, at_least_float


@MODELS.register_module()
class KMaXDeepLabHead(PanopticHead):
    """Mask classification whose queries are cluster centers (kMaX-DeepLab section 3).

    The defaults are those of the PyTorch version for COCO. Weights of the TensorFlow version need
    ``dilation=2`` in the pixel decoder, ``low_level_act`` in the semantic head, and
    ``align_corners='always'`` in both, in the criterion and in the fusion head; training as in the
    TensorFlow version also needs ``conv_init='tensorflow'``.

    Args:
        in_channels: channels of the backbone's feature maps, in decreasing order of resolution:
            res2 .. res5, or stem and res2 .. res5 for a pixel decoder of five stages.
        num_things_classes: number of thing classes, set by the segmentor.
        num_stuff_classes: number of stuff classes, set by the segmentor.
        num_queries: number of queries Q.
        num_train_queries: number of queries that are sampled without replacement in every training
            iteration (drop-query regularization), 1 .. Q; None keeps all of them, as inference
            does.
        query_channels: width C of the queries.
        channels: width of the pixel branch of the last prediction.
        embed_channels: width of pixel and mask embeddings, in all predictions.
        norm_cfg: config of the normalization layers; default BN with eps 1e-3, published with
            SyncBN.
        conv_init: initialization of the convolutions, that of the 'pytorch' or 'tensorflow'
            version.
        pixel_decoder: config of the pixel decoder; channels are filled in from the head.
        transformer_decoder: config of the k-means decoder; channels are filled in alike.
        semantic_head: config of the auxiliary semantic head, used in training only; None for
            none.
        criterion: config of the losses; the number of classes is filled in.
        init_cfg: config of the initialization, see mmengine's ``BaseModule``.

    Raises:
        ValueError: an option is out of range or unknown; the text names it.
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
        self.num_queries = num_queries
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

    def forward(self, features: Sequence[Tensor],
                metainfos: Sequence[dict] | None = None) -> tuple[Tensor, MaskLogits]:
        """Compute all predictions.

        Args:
            features: feature maps of the backbone, in decreasing order of resolution.
            metainfos: ignored; padding is part of the input, as published.

        Returns:
            class logits [L, B, Q, K + 1] and L mask logits, each at the resolution of its own
            map; the last prediction is the result.
        """
        predictions = self.decode(features)
        return (torch.stack([prediction.cls_logits for prediction in predictions]),
                DenseMaskLogits([prediction.mask_logits for prediction in predictions]))

    def loss(self, features: Sequence[Tensor],
             batch_data_samples: SampleList) -> dict[str, Tensor]:
        semantic = None if self.semantic_head is None else self.semantic_head(features)
        return self.criterion(
            self.decode(features), semantic, self.batch_segments(batch_data_samples))

    def predict(self, features: Sequence[Tensor],
                metainfos: Sequence[dict] | None = None) -> tuple[Tensor, MaskLogits]:
        last = self.decode(features)[-1]
        return at_least_float(last.cls_logits), DenseMaskLogits([last.mask_logits]).float()

    def decode(self, features: Sequence[Tensor]) -> list[KMaXPrediction]:
        """Compute the predictions of the decoder layers that predict, and the last one."""
        clustering = self.transformer_decoder.start_clustering(self.queries(len(features[0])))
        pixels, _ = self.pixel_decoder(features, clustering.update)
        queries = clustering.queries
        last = self.predictor(pixels, self.cls_proj(queries), self.mask_proj(queries))
        return [*clustering.predictions, last]

    def queries(self, batch: int) -> Tensor:
        """Initial queries [batch, C, Q]; in training, those that drop-query keeps."""
        table = self.query_feat.weight
        if self.training and self.num_train_queries is not None:
            table = table[torch.randperm(len(table), device=table.device)[:self.num_train_queries]]
        return table.T.expand(batch, -1, -1)
