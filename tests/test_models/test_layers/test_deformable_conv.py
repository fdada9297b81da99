"""Modulated deformable convolution without mmcv's operator."""
import pytest
import torch
from mmcv.ops import ModulatedDeformConv2d

from mmpanseg.compat import operators_compiled
from mmpanseg.models.layers.deformable_conv import ModulatedDeformConv, modulated_deform_conv

CASES = [
    dict(kernel_size=3, padding=1, deform_groups=2),
    dict(kernel_size=3, padding=0, stride=2, bias=False),
    dict(kernel_size=(1, 3), padding=(0, 2), dilation=(1, 2), deform_groups=4)]


def example(case, spread=2.0, size=(6, 7)):
    torch.manual_seed(0)
    layer = ModulatedDeformConv(4, 6, **case).double()
    x = torch.randn(2, 4, *size, dtype=torch.double)
    kernel = layer.kernel_size[0] * layer.kernel_size[1]
    height, width = (
        (side + 2 * p - d * (k - 1) - 1) // s + 1 for side, p, d, k, s in zip(
            size, layer.padding, layer.dilation, layer.kernel_size, layer.stride))
    maps = layer.deform_groups * kernel
    offset = spread * torch.randn(2, 2 * maps, height, width, dtype=torch.double)
    mask = torch.rand(2, maps, height, width, dtype=torch.double)
    return layer, x, offset, mask


def pixel(plane, y, x):
    """Interpolate bilinearly, with zeros outside."""
    total = 0.0
    for row in (int(y // 1), int(y // 1) + 1):
        for column in (int(x // 1), int(x // 1) + 1):
            if 0 <= row < plane.shape[0] and 0 <= column < plane.shape[1]:
                total += (1 - abs(y - row)) * (1 - abs(x - column)) * plane[row, column].item()
    return total


def by_definition(layer, x, offset, mask):
    """Compute Equation 1 of Deformable ConvNets v2, one output value at a time."""
    kernel_height, kernel_width = layer.kernel_size
    kernel, per_group = kernel_height * kernel_width, x.shape[1] // layer.deform_groups
    out = torch.zeros(len(x), layer.out_channels, *offset.shape[2:], dtype=x.dtype)
    for image, _, row, column in torch.cartesian_prod(
            *(torch.arange(n) for n in (len(x), 1, *offset.shape[2:]))).tolist():
        for channel in range(x.shape[1]):
            group = channel // per_group
            for k in range(kernel):
                at = group * kernel + k
                y = (row * layer.stride[0] - layer.padding[0]
                     + k // kernel_width * layer.dilation[0]
                     + offset[image, 2 * at, row, column].item())
                z = (column * layer.stride[1] - layer.padding[1]
                     + k % kernel_width * layer.dilation[1]
                     + offset[image, 2 * at + 1, row, column].item())
                value = pixel(x[image, channel], y, z) * mask[image, at, row, column]
                out[image, :, row, column] += value * layer.weight[
                    :, channel, k // kernel_width, k % kernel_width].detach()
    return out if layer.bias is None else out + layer.bias.detach()[:, None, None]


@pytest.mark.parametrize('case', CASES)
def test_definition(case):
    layer, x, offset, mask = example(case)
    with torch.no_grad():
        torch.nn.init.uniform_(layer.weight, -1, 1)
        if layer.bias is not None:
            torch.nn.init.uniform_(layer.bias, -1, 1)
        found = modulated_deform_conv(layer, x, offset, mask)
    torch.testing.assert_close(found, by_definition(layer, x, offset, mask))


@pytest.mark.parametrize('case', CASES)
def test_without_offsets_it_is_a_convolution(case):
    layer, x, offset, mask = example(case, spread=0.0)
    expected = torch.nn.functional.conv2d(
        x, layer.weight, layer.bias, layer.stride, layer.padding, layer.dilation)
    found = layer.float()(x.float(), offset.float(), torch.ones_like(mask).float())
    torch.testing.assert_close(found, expected.float())


@pytest.mark.skipif(not operators_compiled(), reason='mmcv has no compiled operators')
@pytest.mark.parametrize('case', CASES)
def test_equals_the_operator(case):
    layer, *inputs = example(case)
    layer = layer.float()
    results = []
    for function in (lambda *args: modulated_deform_conv(layer, *args),
                     lambda *args: ModulatedDeformConv2d.forward(layer, *args)):
        leaves = [x.float().requires_grad_() for x in inputs]
        out = function(*leaves)
        out.square().sum().backward()
        results.append([out.detach(), *(leaf.grad for leaf in leaves)])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_several_groups_raise():
    layer = ModulatedDeformConv(4, 4, 3, padding=1, groups=2)
    with pytest.raises(ValueError, match='groups=2.*with-ops'):
        modulated_deform_conv(layer, torch.randn(1, 4, 5, 5), torch.randn(1, 18, 5, 5),
                              torch.rand(1, 9, 5, 5))
