"""The TensorFlow wiring of ResNet against a direct reading of its description."""
import pytest
import torch
import torch.nn.functional as F
from mmengine.model import BaseModule

from mmpanseg.models.backbones import KMaXResNet, PreActivatedResNet

SMALL = dict(depth=50, stem_channels=4, base_channels=4, norm_eval=False, with_stem=True)


def randomize(model: BaseModule) -> None:
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.is_floating_point():
            torch.nn.init.uniform_(tensor, 0.2, 0.8)
            tensor.data[torch.rand_like(tensor) < 0.4] *= -1 if tensor.ndim > 1 else 1
    model.eval()


@pytest.fixture
def model():
    model = PreActivatedResNet(**SMALL)
    randomize(model)
    return model


def norm(x, layer):
    return F.batch_norm(x, layer.running_mean, layer.running_var, layer.weight, layer.bias,
                        eps=layer.eps)


def test_wiring(model):
    image = torch.randn(1, 3, 65, 97)
    expected = [norm(F.conv2d(image, model.conv1.weight, stride=2, padding=3), model.bn1)]
    x = expected[0]
    for stage in (model.layer1, model.layer2, model.layer3, model.layer4):
        for number, block in enumerate(stage):
            stride = 1 if number else 2
            before = x.relu()
            y = norm(F.conv2d(before, block.conv1.weight), block.bn1).relu()
            y = norm(F.conv2d(y, block.conv2.weight, stride=stride, padding=1), block.bn2).relu()
            y = norm(F.conv2d(y, block.conv3.weight), block.bn3)
            if number == 0:
                conv, bn = block.downsample
                before = norm(F.conv2d(before, conv.weight, stride=2), bn)
            x = y + before
        expected.append(x)
    for ours, reference in zip(model(image), expected, strict=True):
        assert torch.allclose(ours, reference, rtol=1e-5, atol=1e-4 * float(reference.abs().max()))
    assert [x.shape[-1] for x in expected] == [49, 25, 13, 7, 4]
    assert (expected[-1] < 0).any()


def test_checkpointed_blocks_give_the_same_gradient(model):
    saving = PreActivatedResNet(**SMALL, with_cp=True)
    saving.load_state_dict(model.state_dict())
    saving.eval()
    gradients = []
    for network in (model, saving):
        network(torch.ones(1, 3, 33, 33))[-1].sum().backward()
        gradients.append(network.layer1[1].conv2.weight.grad)
    assert torch.allclose(*gradients)


def test_both_wirings_have_the_same_parameters(model):
    other = KMaXResNet(**SMALL)
    assert ({k: v.shape for k, v in other.state_dict().items()}
            == {k: v.shape for k, v in model.state_dict().items()})


@torch.no_grad()
def test_maps_without_the_stem_are_the_last_four():
    with_stem, without = KMaXResNet(**SMALL), KMaXResNet(**{**SMALL, 'with_stem': False})
    randomize(with_stem)
    without.load_state_dict(with_stem.state_dict())
    without.eval()  # gives nothing back here
    image = torch.randn(1, 3, 33, 33)
    maps = with_stem(image)
    assert len(maps) == 5 and all(x.std() > 0 for x in maps)
    torch.testing.assert_close(without(image), maps[1:])
