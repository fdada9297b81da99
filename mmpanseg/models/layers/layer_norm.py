"""Layer norm over the channels of maps."""
import torch.nn.functional as F
from torch import Tensor, nn


class LayerNorm2d(nn.LayerNorm):
    """Norm over C of [B, C, H, W], each pixel by itself.

    Args:
        channels: C.
        eps: published for ConvNeXt and kMaX-DeepLab: 1e-6.
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__(channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        return F.layer_norm(
            x, self.normalized_shape, self.weight, self.bias, self.eps).permute(0, 3, 1, 2)
