"""The one segmentor: backbone, panoptic head, panoptic fusion head."""
from typing import Optional

from mmdet.models.detectors import BaseDetector
from mmdet.structures import OptSampleList, SampleList
import torch
from torch import Tensor

from mmpanseg.registry import MODELS


@MODELS.register_module()
class MaskTransformer(BaseDetector):
    """Mask classification model for panoptic segmentation.

    The numbers of classes are given here and nowhere else; labels are contiguous, things first.

    Args:
        num_things_classes, num_stuff_classes: classes of the data set.
        backbone: config; gives maps at strides 4, 8, 16, 32.
        panoptic_head: config of the head (predictions and losses).
        panoptic_fusion_head: config of the fusion head (predictions to segments).
        data_preprocessor, init_cfg: see mmengine.
    """

    def __init__(self, num_things_classes: int, num_stuff_classes: int, backbone: dict,
                 panoptic_head: dict,
                 panoptic_fusion_head: dict = dict(type='mmpanseg.PixelwiseFusionHead'),
                 data_preprocessor: Optional[dict] = None,
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        if num_things_classes < 0 or num_stuff_classes < 0 or not (
                num_things_classes + num_stuff_classes):
            raise ValueError(
                'model.num_things_classes and model.num_stuff_classes must be the numbers of '
                f'classes of the data set, got {num_things_classes} and {num_stuff_classes}')
        classes = dict(num_things_classes=num_things_classes, num_stuff_classes=num_stuff_classes)
        self.num_things_classes = num_things_classes
        self.num_stuff_classes = num_stuff_classes
        self.num_classes = num_things_classes + num_stuff_classes
        self.backbone = MODELS.build(backbone)
        self.panoptic_head = MODELS.build(panoptic_head, default_args=classes)
        self.panoptic_fusion_head = MODELS.build(panoptic_fusion_head, default_args=classes)

    def extract_feat(self, batch_inputs: Tensor) -> tuple[Tensor, ...]:
        """Backbone maps of images [B, 3, H, W], high resolution first."""
        return self.backbone(batch_inputs.contiguous(memory_format=torch.channels_last))

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Losses by name.

        Raises:
            ValueError: when a sample carries no ground truth; the text names the image.
        """
        for sample in batch_data_samples:
            if 'gt_segments' not in sample:
                raise ValueError(
                    f'no gt_segments for {sample.get("img_path", "an image")}: the training '
                    'pipeline needs mmpanseg.LoadPanopticMap before mmpanseg.PackPanopticInputs')
        return self.panoptic_head.loss(self.extract_feat(batch_inputs), batch_data_samples)

    def predict(self, batch_inputs: Tensor, batch_data_samples: SampleList,
                rescale: bool = True) -> SampleList:
        """Segments of images [B, 3, H, W], added to the data samples.

        Args:
            rescale: results at the original image size, else at the network's input size.

        Returns:
            the samples with ``pred_panoptic_seg``.
        """
        cls_logits, mask_logits = self.panoptic_head.predict(self.extract_feat(batch_inputs))
        results = self.panoptic_fusion_head.predict(
            cls_logits, mask_logits, [sample.metainfo for sample in batch_data_samples], rescale)
        return self.add_pred_to_datasample(batch_data_samples, results)

    def add_pred_to_datasample(self, data_samples: SampleList,
                               results_list: list[dict]) -> SampleList:
        """Set each image's results, ``pred_*`` by name, on its sample."""
        for sample, results in zip(data_samples, results_list):
            for name, value in results.items():
                setattr(sample, name, value)
        return data_samples

    def _forward(self, batch_inputs: Tensor,
                 batch_data_samples: OptSampleList = None) -> tuple:
        """Raw predictions of the head, without losses or post-processing."""
        return self.panoptic_head(self.extract_feat(batch_inputs))
