"""Convolution, norm and GELU of kMaX-DeepLab and MaX-DeepLab, on maps and on sequences.

Shapes: B images, C channels, L length of a sequence.
"""
import torch
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmpanseg.utils.config_checks import resolve_option

# as published; the TensorFlow version writes this momentum as 0.99
NORM = dict(type='BN', eps=1e-3, momentum=0.01)
# standard deviation of a standard normal distribution that is truncated at two deviations
_TRUNCATED_STD = 0.87962566103423978


def build_norm(norm_cfg: dict, channels: int, dims: int = 2, scale: float = 1.0) -> nn.Module:
    """Build a normalization layer over the second dimension of its input.

    Args:
        norm_cfg: config, mmengine style. The types 'BN', 'BN1d' and 'BN2d' become batch norm of
            ``dims`` dimensions.
        channels: size of the second dimension.
        dims: number of dimensions after the second: 1 for sequences, 2 for maps.
        scale: initial value of the norm's weight.

    Returns:
        normalization layer.
    """
    if norm_cfg['type'] in ('BN', 'BN1d', 'BN2d'):
        norm_cfg = dict(norm_cfg, type=f'BN{dims}d')
    norm = build_norm_layer(norm_cfg, channels)[1]
    nn.init.constant_(norm.weight, scale)
    return norm


def truncated_normal_(tensor: Tensor, std: float) -> None:
    """Fill a tensor in place from a normal distribution truncated at two standard deviations.

    Args:
        tensor: tensor to fill.
        std: standard deviation before truncation.
    """
    nn.init.trunc_normal_(tensor, std=std, a=-2 * std, b=2 * std)


def he_std_pytorch(weight: Tensor) -> float:
    """Return the published PyTorch version's standard deviation of a kernel [C', C, ...].

    Its fan counts the input channels without the kernel area, and truncation is not corrected.
    """
    return (2 / weight.shape[1]) ** 0.5


def he_std_tensorflow(weight: Tensor) -> float:
    """Return Keras' He-normal standard deviation: fan of the whole kernel, truncation corrected."""
    return (2 / weight[0].numel()) ** 0.5 / _TRUNCATED_STD


CONV_INIT = {'pytorch': he_std_pytorch, 'tensorflow': he_std_tensorflow}


class ConvNorm(BaseModule):
    """Convolution, norm and exact GELU; norm and activation are optional.

    The parameters are named ``conv`` and ``norm``. Padding preserves the size at stride 1.

    Args:
        in_channels: width C of the input.
        out_channels: width C' of the output.
        kernel_size: side of the kernel, odd.
        stride: stride of the convolution.
        dilation: dilation of the kernel.
        depthwise: one kernel per channel, initialized Glorot-uniform; ``out_channels`` must be
            equal to ``in_channels``.
        dims: 2 for maps [B, C, H, W], 1 for sequences [B, C, L].
        bias: whether the convolution has a bias, initialized to 0.
        norm_cfg: config of the norm, mmengine style; default BN with eps 1e-3 and momentum 0.01, as
            published; None: no norm.
        act: whether to apply GELU at the end.
        std: standard deviation of the truncated-normal initialization; None: He's, see
            ``conv_init``.
        scale: initial value of the norm's weight.
        conv_init: published version whose He initialization is used, 'pytorch' or 'tensorflow'.
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
        """Sample the initial values of the convolution.

        Args:
            conv_init: published version whose He initialization is used, 'pytorch' or 'tensorflow'.
        """
        he_std = resolve_option('conv_init', conv_init, CONV_INIT)
        weight = self.conv.weight
        if self.depthwise:
            # fans as Keras defines them: area for the input, area x channels for the output
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
    """Layer norm over the channels of each pixel of maps [B, C, H, W].

    Args:
        channels: number of channels C.
        eps: added to the variance; default 1e-6, as published for ConvNeXt and kMaX-DeepLab.
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__(channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        return F.layer_norm(
            x, self.normalized_shape, self.weight, self.bias, self.eps).permute(0, 3, 1, 2)
