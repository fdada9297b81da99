"""Modulated deformable convolution: mmcv's parameters, with and without its compiled operator.

Shapes: B images, C input and C' output channels, K positions of the kernel, G groups of channels
with offsets of their own, H x W input map, h x w output map.
"""
import torch
import torch.nn.functional as F
from mmcv.ops import ModulatedDeformConv2d
from torch import Tensor

from mmpanseg.compat import operators_compiled
from mmpanseg.structures.mask_logits import at_least_float
from mmpanseg.utils.device import to_device


class ModulatedDeformConv(ModulatedDeformConv2d):
    """mmcv's ModulatedDeformConv2d, computed by ``grid_sample`` where it is not compiled.

    Source: Zhu et al., Deformable ConvNets v2, Equation 1.

    Args:
        args, kwargs: those of mmcv's class.
    """

    def forward(self, x: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        """Convolve at shifted and weighted positions.

        Args:
            x: input maps [B, C, H, W].
            offset: offsets of the kernel positions in pixels, y before x [B, 2 G K, h, w].
            mask: weights of the kernel positions [B, G K, h, w].

        Returns:
            output maps [B, C', h, w].
        """
        if x.device.type in ('cpu', 'cuda') and operators_compiled(x.device.type):
            return super().forward(x, offset, mask)
        return modulated_deform_conv(self, x, offset, mask)


def modulated_deform_conv(layer: ModulatedDeformConv2d, x: Tensor, offset: Tensor,
                          mask: Tensor) -> Tensor:
    """Compute a modulated deformable convolution with ``groups=1`` in plain PyTorch.

    The kernel positions are processed one after the other, so that memory does not grow with K.

    Args:
        layer: layer whose parameters and geometry are used.
        x: input maps [B, C, H, W].
        offset: offsets of the kernel positions in pixels, y before x [B, 2 G K, h, w].
        mask: weights of the kernel positions [B, G K, h, w].

    Returns:
        output maps [B, C', h, w].

    Raises:
        ValueError: the layer has several groups.
    """
    if layer.groups != 1:
        raise ValueError(f'groups={layer.groups} of a modulated deformable convolution needs '
                         "mmcv's compiled operators (tools/install.sh --with-ops); without them "
                         'groups must be 1')
    groups = layer.deform_groups
    kernel_height, kernel_width = layer.kernel_size
    height, width = x.shape[-2:]
    batch, _, out_height, out_width = offset.shape
    # [B G, K, h, w, 2] and [B G, K, h, w]
    offset = at_least_float(offset).reshape(
        batch * groups, -1, 2, out_height, out_width).permute(0, 1, 3, 4, 2)
    mask = mask.reshape(batch * groups, -1, out_height, out_width)
    planes = at_least_float(x).reshape(batch * groups, -1, height, width)
    size = to_device(offset.device, [float(height), float(width)])[0].to(offset.dtype)
    rows = torch.arange(out_height, device=x.device) * layer.stride[0] - layer.padding[0]
    columns = torch.arange(out_width, device=x.device) * layer.stride[1] - layer.padding[1]
    out: Tensor | None = None
    for k in range(kernel_height * kernel_width):
        centers = torch.stack(torch.meshgrid(
            rows + k // kernel_width * layer.dilation[0],
            columns + k % kernel_width * layer.dilation[1], indexing='ij'), dim=-1)
        # from pixels to -1..1 between the outer edges
        grid = (2 * (centers + offset[:, k]) + 1) / size - 1
        sampled = F.grid_sample(planes, grid.flip(-1), align_corners=False) * mask[:, k, None]
        weight = layer.weight[:, :, k // kernel_width, k % kernel_width]
        part = weight.to(sampled.dtype) @ sampled.reshape(batch, x.shape[1], -1)
        out = part if out is None else out + part
    assert out is not None  # a kernel has at least one position
    if layer.bias is not None:
        out = out + layer.bias[:, None]
    return out.unflatten(2, (out_height, out_width)).to(x.dtype)
