"""Convolution, norm and GELU of kMaX-DeepLab and MaX-DeepLab, on maps and on sequences."""
import torch
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmpanseg.utils.config_checks import resolve_option

# published: epsilon and momentum of every norm, in TensorFlow's default notation 0.99
NORM = dict(type='BN', eps=1e-3, momentum=0.01)
# deviation of a normal distribution cut at two deviations
_CUT_DEVIATION = 0.87962566103423978


def build_norm(norm_cfg: dict, channels: int, dims: int = 2, scale: float = 1.0) -> nn.Module:
    """Norm over the second dimension.

    Args:
        norm_cfg: batch norms ('BN', 'BN1d', 'BN2d') become those of the dimensions.
        channels: size of the second dimension.
        dims: number of dimensions after the second: 1 or 2.
        scale: what the weight starts from.
    """
    if norm_cfg['type'] in ('BN', 'BN1d', 'BN2d'):
        norm_cfg = dict(norm_cfg, type=f'BN{dims}d')
    norm = build_norm_layer(norm_cfg, channels)[1]
    nn.init.constant_(norm.weight, scale)
    return norm


def truncated_normal_(tensor: Tensor, std: float) -> None:
    """Fill with a normal distribution of deviation ``std`` before it is cut at two of them."""
    nn.init.trunc_normal_(tensor, std=std, a=-2 * std, b=2 * std)


def he_std_pytorch(weight: Tensor) -> float:
    """Deviation from the input channels alone, without the kernel's area and without correction."""
    return (2 / weight.shape[1]) ** 0.5


def he_std_tensorflow(weight: Tensor) -> float:
    """Keras' He normal: fan of the whole kernel, corrected for the cut."""
    return (2 / weight[0].numel()) ** 0.5 / _CUT_DEVIATION


CONV_INIT = {'pytorch': he_std_pytorch, 'tensorflow': he_std_tensorflow}


class ConvNorm(BaseModule):
    """Convolution (no bias) -> norm -> GELU, each of the last two optional.

    Parameters: ``conv``, ``norm``. Padding keeps the size at stride 1.

    Args:
        in_channels, out_channels, kernel_size, stride, dilation: of the convolution.
        depthwise: one kernel per channel (Glorot-uniform start).
        dims: 2 for maps [B, C, H, W], 1 for sequences [B, C, L].
        bias: convolution with a bias (start 0).
        norm_cfg: None for none.
        act: exact GELU at the end.
        std: deviation of the truncated normal start; by default He's by ``conv_init``.
        scale: what the norm's scale starts from.
        conv_init: variance of He's initialization, that of the 'pytorch' or the 'tensorflow'
            version of kMaX-DeepLab.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 1, stride: int = 1,
                 dilation: int = 1, depthwise: bool = False, dims: int = 2, bias: bool = False,
                 norm_cfg: dict | None = NORM, act: bool = True, std: float | None = None,
                 scale: float = 1.0, conv_init: str = 'pytorch') -> None:
        super().__init__()
        self.depthwise, self.std = depthwise, std
        self.conv = (nn.Conv2d, nn.Conv1d)[dims == 1](
            in_channels, out_channels, kernel_size, stride, dilation * (kernel_size - 1) // 2,
            dilation, in_channels if depthwise else 1, bias)
        self.norm = (nn.Identity() if norm_cfg is None else
                     build_norm(norm_cfg, out_channels, dims, scale))
        self.act = nn.GELU() if act else nn.Identity()
        self.reset_parameters(conv_init)

    @torch.no_grad()
    def reset_parameters(self, conv_init: str = 'pytorch') -> None:
        """Sample the initial weight of the convolution; ``conv_init`` as for the class."""
        he_std = resolve_option('conv_init', conv_init, CONV_INIT)
        weight = self.conv.weight
        if self.depthwise:
            # fan as Keras counts it: area in, area x channels out
            area = weight[0].numel()
            limit = (6 / (area + area * len(weight))) ** 0.5
            nn.init.uniform_(weight, -limit, limit)
        else:
            truncated_normal_(weight, he_std(weight) if self.std is None else self.std)
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, ...] -> [B, C', ...]."""
        return self.act(self.norm(self.conv(x)))


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
