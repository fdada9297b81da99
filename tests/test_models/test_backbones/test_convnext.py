"""Options of ConvNeXt."""
import pytest
import torch

from mmpanseg.models.backbones import ConvNeXt

TINY = ((1, 1, 2, 1), (4, 8, 12, 16))


@pytest.mark.parametrize('side, sides', [(64, [16, 8, 4, 2]), (65, [17, 9, 5, 3]),
                                         (41, [11, 6, 3, 2])])
def test_sizes(side, sides):
    assert [x.shape[-1] for x in ConvNeXt(TINY)(torch.zeros(1, 3, 64, side))] == sides


def test_odd_rows_can_be_cut_off_as_in_other_releases():
    model = ConvNeXt(TINY, pad_odd=False).eval()
    image = torch.randn(1, 3, 65, 66)
    for cut, whole in zip(model(image[..., :64, :64]), model(image)):
        assert torch.equal(cut, whole)


def cell_by_cell(conv, x, before, after):
    """Pad a map with zeros and convolve it with a kernel as large as the stride."""
    size = conv.kernel_size[0]
    height, width = (side + before + after for side in x.shape[-2:])
    canvas = torch.zeros(*x.shape[:2], height, width)
    canvas[:, :, before:height - after, before:width - after] = x
    out = torch.zeros(len(x), len(conv.weight), height // size, width // size)
    for row in range(height // size):
        for column in range(width // size):
            patch = canvas[:, :, size * row:size * (row + 1), size * column:size * (column + 1)]
            out[:, :, row, column] = (
                torch.einsum('bcyx,ocyx->bo', patch, conv.weight) + conv.bias)
    return out


def padded_by_hand(x):
    """Pad one row and one column of zeros at the bottom and right."""
    canvas = torch.zeros(*x.shape[:2], x.shape[2] + 1, x.shape[3] + 1)
    canvas[:, :, :-1, :-1] = x
    return canvas


@pytest.mark.parametrize('channels, arch', [
    (3, TINY), (1, TINY), (3, ((1, 1, 1, 1), (3, 3, 8, 3)))])
@pytest.mark.parametrize('size', [(64, 64), (65, 65), (96, 128), (33, 47), (1, 1), (2, 70)])
@torch.no_grad()
def test_every_size_is_padded_as_published(size, channels, arch):
    """(left, right, top, bottom): (1, 2, 1, 2) before the stem, (0, 1, 0, 1) before later norms."""
    torch.manual_seed(0)
    model = ConvNeXt(arch, in_channels=channels, with_stem=True).eval()
    for parameter in model.parameters():
        parameter.normal_(std=0.5)
    image = torch.randn(1, channels, *size)
    stem, *maps = model(image)
    conv, norm = model.downsample_layers[0]
    x = norm(cell_by_cell(conv, image, 1, 2))
    torch.testing.assert_close(stem, x)
    for number, ours in enumerate(maps):
        if number:
            norm, conv = model.downsample_layers[number]
            x = cell_by_cell(conv, norm(padded_by_hand(x)), 0, 0)
        x = model.stages[number](x)
        assert ours.shape[-2:] == tuple(-(-side // (4 << number)) for side in size)
        torch.testing.assert_close(ours, x, atol=1e-4, rtol=1e-4)


def test_drop_path_grows_from_nothing():
    model = ConvNeXt(TINY, drop_path_rate=0.4)
    rates = [block.drop_path.drop_prob for stage in model.stages for block in stage]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


def test_start():
    model = ConvNeXt(TINY)
    model.init_weights()
    kernels = torch.cat([p.detach().flatten() for p in model.parameters() if p.ndim > 1])
    assert float(kernels.std()) == pytest.approx(0.02, rel=0.1)
    assert model.stages[0][0].gamma[0].item() == pytest.approx(1e-6)


def test_names_are_those_of_mmpretrain():
    names = set(ConvNeXt(TINY).state_dict())
    block = 'stages.2.1.'
    assert {'downsample_layers.0.0.weight', 'downsample_layers.0.1.bias',
            'downsample_layers.3.0.weight', 'downsample_layers.3.1.bias', block + 'gamma',
            block + 'depthwise_conv.weight', block + 'norm.weight',
            block + 'pointwise_conv1.weight', block + 'pointwise_conv2.bias'} < names


def test_unknown_size():
    with pytest.raises(ValueError, match="arch='huge' is unknown; choose one of tiny, small"):
        ConvNeXt('huge')
