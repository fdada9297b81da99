"""Data preprocessor for images with any number of channels."""
from collections.abc import Sequence

import torch
from mmdet.models.data_preprocessors import DetDataPreprocessor

from mmpanseg.registry import MODELS


@MODELS.register_module()
class ChannelDataPreprocessor(DetDataPreprocessor):
    """Normalize images with any number of channels, and pad batches.

    mmdet's class accepts one or three channels; for these, both compute the same.

    Args:
        mean: mean of each channel, in the order of the network's input, or one for all; None for
            no normalization.
        std: standard deviation of each channel, as ``mean``.
        bgr_to_rgb: swap the first and the third channel. False with
            :class:`mmpanseg.datasets.LoadChannels`, which loads R, G, B.
        rgb_to_bgr: the same.
        kwargs: further arguments of mmdet's ``DetDataPreprocessor``.

    Raises:
        ValueError: ``mean`` and ``std`` differ in length, or a ``std`` is not positive.
    """

    def __init__(self, mean: Sequence[float] | None = None, std: Sequence[float] | None = None,
                 bgr_to_rgb: bool = False, rgb_to_bgr: bool = False, **kwargs) -> None:
        if (mean is None) != (std is None):
            raise ValueError('model.data_preprocessor has only one of mean and std: give both, '
                             'with a value per channel')
        super().__init__(**kwargs)
        # mmdet's class would drop the channels after the third
        self._swap = bgr_to_rgb or rgb_to_bgr
        if mean is None or std is None:
            return
        if len(mean) != len(std) or not len(mean):
            raise ValueError(f'model.data_preprocessor has {len(mean)} values of mean and '
                             f'{len(std)} of std: give both a value per channel')
        if min(std) <= 0:
            raise ValueError(f'model.data_preprocessor.std={list(std)} must be positive: leave out '
                             'a channel that is constant (channels of LoadChannels)')
        self._enable_normalize = True
        for name, values in (('mean', mean), ('std', std)):
            self.register_buffer(name, torch.tensor([float(x) for x in values]).view(-1, 1, 1),
                                 False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Normalize and pad a batch.

        Args:
            data: ``inputs``, images [C, h, w], and ``data_samples``, one sample each or None.
            training: whether to apply mmdet's batch augmentations.

        Returns:
            ``inputs`` as one tensor [B, C, H, W], and ``data_samples`` with ``batch_input_shape``.
        """
        if self._swap:
            data = dict(data, inputs=[_swapped(image) for image in data['inputs']])
        return super().forward(data, training)


def _swapped(image: torch.Tensor) -> torch.Tensor:
    return image[[2, 1, 0, *range(3, len(image))]]
