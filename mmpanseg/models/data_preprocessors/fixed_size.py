"""Padding to one size, as networks with positions of fixed number are trained."""

import torch.nn.functional as F
from mmdet.models.data_preprocessors import DetDataPreprocessor

from mmpanseg.registry import MODELS


@MODELS.register_module()
class FixedSizeDataPreprocessor(DetDataPreprocessor):
    """Normalizes, and pads every batch at the right and bottom to ``size`` with exact zeros.

    Images larger than ``size`` are padded to the next side of ``divisor`` k + 1 pixels instead.
    Pixels that ``real_pixels`` of a sample (bool [H, W]) calls not real are zero after
    normalization as well, wherever they lie; see :class:`mmpanseg.datasets.PanopticCopyPaste`.

    Args:
        size: (H, W), or None for the next possible size of each batch. Published: (1281, 1281) for
            COCO and ADE20K, (1025, 2049) for Cityscapes.
        divisor: stride of the coarsest map.
        kwargs: see mmdet's ``DetDataPreprocessor``.
    """

    def __init__(self, size: tuple[int, int] | None, divisor: int = 32, **kwargs) -> None:
        super().__init__(**kwargs)
        self.size, self.divisor = tuple(size or (1, 1)), divisor

    def forward(self, data: dict, training: bool = False) -> dict:
        """Batch of tensors [3, h, w] -> one tensor [B, 3, H, W] and the samples."""
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
        """Padded length of a side."""
        return max(wanted, -(-(side - 1) // self.divisor) * self.divisor + 1)
