"""Data preprocessor that pads to a fixed size, for networks with a fixed number of positions."""

import torch.nn.functional as F

from mmpanseg.models.data_preprocessors.channels import ChannelDataPreprocessor
from mmpanseg.registry import MODELS


@MODELS.register_module()
class FixedSizeDataPreprocessor(ChannelDataPreprocessor):
    """Normalize images, and pad every batch at the right and at the bottom with zeros.

    Sides that are longer than ``size`` are padded to the next length of ``divisor`` k + 1 pixels.
    Pixels that are False in ``real_pixels`` of a sample (bool [H, W], see
    :class:`mmpanseg.datasets.PanopticCopyPaste`) are set to zero after normalization as well.

    Args:
        size: (height, width) in pixels; None pads to the next length of ``divisor`` k + 1 of each
            batch. Published: (1281, 1281) for COCO and ADE20K, (1025, 2049) for Cityscapes.
        divisor: stride of the coarsest feature map in pixels.
        kwargs: arguments of :class:`ChannelDataPreprocessor`.
    """

    def __init__(self, size: tuple[int, int] | None, divisor: int = 32, **kwargs) -> None:
        super().__init__(**kwargs)
        self.size, self.divisor = tuple(size or (1, 1)), divisor

    def forward(self, data: dict, training: bool = False) -> dict:
        """Normalize and pad a batch.

        Args:
            data: ``inputs``, images [C, h, w], and ``data_samples``, one sample each or None.
            training: whether to apply mmdet's batch augmentations.

        Returns:
            ``inputs`` as one tensor [B, C, H, W], and ``data_samples`` with ``batch_input_shape``.
        """
        data = super().forward(data, training)
        inputs, samples = data['inputs'], data['data_samples'] or []
        for image, sample in zip(inputs, samples):
            if 'real_pixels' in sample:
                height, width = sample.real_pixels.shape
                image[:, :height, :width] *= sample.real_pixels
        missing = [self.padded(side, wanted) - side
                   for side, wanted in zip(inputs.shape[-2:], self.size)]
        data['inputs'] = inputs = F.pad(inputs, (0, missing[1], 0, missing[0]))
        for sample in samples:
            sample.set_metainfo(dict(batch_input_shape=tuple(inputs.shape[-2:])))
        return data

    def padded(self, side: int, wanted: int) -> int:
        """Compute the padded length of a side.

        Args:
            side: length in pixels.
            wanted: padded length where ``side`` is not longer.
        """
        return max(wanted, -(-(side - 1) // self.divisor) * self.divisor + 1)
