"""ConvNeXt's options."""
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


def test_padding_of_an_even_size_changes_nothing():
    model = ConvNeXt(TINY).eval()
    other = ConvNeXt(TINY, pad_odd=False).eval()
    other.load_state_dict(model.state_dict())
    image = torch.randn(1, 3, 64, 96)
    for ours, plain in zip(model(image), other(image)):
        assert torch.equal(ours, plain)


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
