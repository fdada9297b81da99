"""Contract between the segmentor and its panoptic heads.

Shapes: B images, Q queries, K classes, L predictions (decoder layers + 1), h, w mask logits.
"""
from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmdet.structures import SampleList
from mmengine.model import BaseModule
from torch import Tensor

from mmpanseg.structures.mask_logits import MaskLogits
from mmpanseg.structures.segment_map import SegmentBatch


class LayerPredictions(NamedTuple):
    """Predictions of one set of queries after every decoder layer.

    Attributes:
        cls_logits: class logits [L, B, Q, K + 1].
        mask_logits: L mask logits of the same queries.
        counts: number of queries of each image; rows from there on are padding.
    """
    cls_logits: Tensor
    mask_logits: MaskLogits
    counts: list[int]


class PanopticHead(BaseModule):
    """Base of all heads: feature maps of the backbone to losses or to predictions of queries.

    A head derives from this class and defines :meth:`forward`, :meth:`loss` and :meth:`predict`.
    It overrides those of the other methods whose result its method can produce; the others raise a
    ``ValueError`` that names the heads that can.

    All methods receive ``features``, the feature maps of the backbone in decreasing order of
    resolution, and ``metainfos``, a dict with ``img_shape`` and ``batch_input_shape`` of each
    image. ``metainfos=None`` means that no image is padded.

    Attributes:
        num_classes: number of classes K, without "no object".
        num_queries: number of queries of an image in inference.
        score_activation: activation of the class logits, 'softmax' (K + 1 logits, "no object"
            last) or 'sigmoid' (K logits). The fusion head is configured with the same value.
        mask_activation: activation of the mask logits: 'sigmoid' for logits, 'none' for values
            that are in 0..1 already. The fusion head is configured with the same value; one that
            defines an activation of its own, such as kMaX-DeepLab's softmax over queries, expects
            logits.
        query_parts: sets of queries that :meth:`layer_predictions` can follow; empty if none.
    """

    num_classes: int
    num_queries: int
    score_activation: str = 'softmax'
    mask_activation: str = 'sigmoid'
    query_parts: tuple[str, ...] = ()

    def forward(self, features: Sequence[Tensor],
                metainfos: Sequence[dict] | None = None) -> tuple:
        """Compute the raw predictions, whose form each head documents."""
        raise NotImplementedError

    def loss(self, features: Sequence[Tensor],
             batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Compute the losses of a batch.

        Args:
            features: feature maps of the backbone, [B, C, h, w] each.
            batch_data_samples: B samples with ``gt_segments``, ``img_shape`` and
                ``batch_input_shape``.

        Returns:
            weighted losses, scalars by name.
        """
        raise NotImplementedError

    def predict(self, features: Sequence[Tensor],
                metainfos: Sequence[dict] | None = None) -> tuple[Tensor, MaskLogits]:
        """Predict classes and masks of all queries, in single precision at least.

        Args:
            features: feature maps of the backbone, [B, C, h, w] each.
            metainfos: meta information of the B images; None if no image is padded.

        Returns:
            class logits [B, Q, K + 1], or [B, Q, K] with ``score_activation='sigmoid'``, and one
            prediction of mask logits [B, Q, h, w], as products of embeddings and features or as
            dense logits.
        """
        raise NotImplementedError

    def predict_with_queries(
            self, features: Sequence[Tensor], metainfos: Sequence[dict] | None = None
    ) -> tuple[Tensor, MaskLogits, Tensor]:
        """Predict as :meth:`predict`, and name the query of each prediction.

        Returns:
            class logits and mask logits, and the index of the query behind each of their rows,
            int64 [B, Q]; by default row q is query q.
        """
        cls_logits, mask_logits = self.predict(features, metainfos)
        index = torch.arange(cls_logits.shape[1], device=cls_logits.device)
        return cls_logits, mask_logits, index.expand(len(cls_logits), -1)

    def layer_predictions(self, features: Sequence[Tensor], segments: SegmentBatch,
                          part: str = 'matching') -> LayerPredictions:
        """Predict with the same queries after every decoder layer.

        Args:
            features: feature maps of the backbone, [B, C, h, w] each.
            segments: ground truth of the B images; read where it is fed to the decoder.
            part: the set of queries, one of ``query_parts``: 'matching', the learnable queries, or
                'piloted', the mask-piloted queries of MP-Former without noise.

        Raises:
            ValueError: see :meth:`check_query_part`.
        """
        self.check_query_part(part)
        raise NotImplementedError

    def check_query_part(self, part: str) -> None:
        """Check that :meth:`layer_predictions` can follow a set of queries.

        Args:
            part: see :meth:`layer_predictions`.

        Raises:
            ValueError: the head predicts once, or has no such queries.
        """
        if not self.query_parts:
            raise self._refusal('predictions of every decoder layer', 'mmpanseg.Mask2FormerHead '
                                'and mmpanseg.MPFormerHead predict with the same queries in each')
        if part not in self.query_parts:
            raise ValueError(
                f'part={part!r} is not a set of queries of {type(self).__name__}: choose one of '
                f'{", ".join(self.query_parts)}; the mask-piloted queries (\'piloted\') need '
                "model.panoptic_head.type='mmpanseg.MPFormerHead'")

    @staticmethod
    def batch_segments(batch_data_samples: SampleList) -> SegmentBatch:
        """Collect the ground truth of a batch, relative to its padded input."""
        return SegmentBatch([sample.gt_segments for sample in batch_data_samples],
                            batch_data_samples[0].batch_input_shape)

    def _refusal(self, what: str, alternative: str) -> ValueError:
        return ValueError(f'{type(self).__name__} has no {what}: {alternative}')
