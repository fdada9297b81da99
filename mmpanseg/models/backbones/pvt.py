"""PVTv2 with the epsilons of its released weights."""
from mmdet.models.backbones import PyramidVisionTransformerV2
from torch import Tensor

from mmpanseg.registry import MODELS

TRAINED_EPS = 1e-5


@MODELS.register_module()
class PVTv2(PyramidVisionTransformerV2):
    """mmdet's PVTv2 with eps 1e-5 in the norms after patch embedding and spatial reduction.

    mmdet uses 1e-6 everywhere, but the released weights were trained with 1e-5 in these two places;
    outputs differ by about 5e-5.

    Args:
        kwargs: arguments of mmdet's class.

    Attributes:
        smallest_side: minimum height and width of images in pixels, so that the spatial reduction
            of every stage covers at least one window; 29 for the published architectures.
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self.smallest_side = stride = 1
        for embedding, layers, _ in self.layers:
            stride *= embedding.projection.stride[0]
            embedding.norm.eps = TRAINED_EPS
            for layer in layers:
                self.smallest_side = max(
                    self.smallest_side, (layer.attn.sr_ratio - 1) * stride + 1)
                if layer.attn.sr_ratio > 1:
                    layer.attn.norm.eps = TRAINED_EPS

    def forward(self, x: Tensor) -> list[Tensor]:
        """Compute feature maps.

        Args:
            x: images [B, C, H, W].

        Returns:
            maps of ``out_indices``, high resolution first.

        Raises:
            ValueError: an image is smaller than ``smallest_side``.
        """
        if min(x.shape[-2:]) < self.smallest_side:
            raise ValueError(
                f'an input of {x.shape[-2]} x {x.shape[-1]} pixels (height x width) is too small '
                f'for mmpanseg.PVTv2, whose sides must be at least {self.smallest_side}: resize '
                'the images, or pad them with model.data_preprocessor.pad_size_divisor=32')
        return super().forward(x)
