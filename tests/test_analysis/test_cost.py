"""Parameters and FLOPs against sums by hand and published numbers."""
import pytest
import torch
from mmdet.models.backbones import ResNet
from mmengine.config import Config
from torch import nn

from mmpanseg.analysis import (
    build_on_meta,
    coco_test_sizes,
    count_flops,
    count_parameters,
    mean_flops,
)
from mmpanseg.structures.mask_logits import DenseMaskLogits

# masks of nine layers at 1/4, less those at the sizes of the maps that the layers read
MORE_PLACES = 9 / 4**2 - 3 * (1 / 8**2 + 1 / 16**2 + 1 / 32**2)
R50 = 'configs/mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py'


class Head(nn.Module):
    """A pixel decoder, a decoder of which only the layers are called, and masks of 7 queries."""

    def __init__(self):
        super().__init__()
        self.pixel_decoder = nn.Conv2d(8, 16, 3, padding=1, stride=2)
        self.query_decoder = nn.ModuleDict(dict(
            layers=nn.ModuleList([nn.MultiheadAttention(16, 4, batch_first=True)])))
        self.other = nn.Linear(16, 7)

    def predict(self, features):
        x = self.pixel_decoder(features)
        tokens = x.flatten(2).transpose(1, 2)
        for layer in self.query_decoder['layers']:
            tokens = layer(tokens, tokens, tokens, need_weights=False)[0]
        masks = self.other(tokens).transpose(1, 2).unflatten(2, x.shape[-2:])
        return x.new_empty(1, 7, 3), DenseMaskLogits([masks])


class Model(nn.Module):

    def __init__(self):
        super().__init__()
        self.backbone = nn.Conv2d(3, 8, 1, bias=False)
        self.panoptic_head = Head()

    def extract_feat(self, images):
        return self.backbone(images)

    def pad(self, images):
        height, width = images.shape[-2:]
        return nn.functional.pad(images, (0, -width % 4, 0, -height % 4))


def test_small_model_by_hand():
    with torch.device('meta'):
        model = Model().eval()
    height, width = 8, 12  # 6 x 11, padded
    tokens = height * width // 4
    attention = tokens * 16 * 16 * 4 + 2 * tokens * tokens * 16
    expected = {
        'backbone': height * width * 3 * 8,
        'pixel decoder': tokens * 8 * 16 * 9,
        'query decoder': attention,
        'head': tokens * 16 * 7}
    flops = count_flops(model, (6, 11))
    assert flops == expected | dict(total=sum(expected.values()))
    assert list(flops) == list(count_parameters(model))
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert mean_flops(model, {(6, 11): 3.0, (8, 12): 1.0}) == flops


def test_small_model_parameters():
    counts = count_parameters(Model())
    assert counts == {
        'backbone': 24, 'pixel decoder': 8 * 16 * 9 + 16, 'query decoder': 4 * (16 * 16 + 16),
        'head': 16 * 7 + 7, 'total': sum(p.numel() for p in Model().parameters())}


def test_constants_of_frozen_norms_are_no_parameters():
    model = Model()
    model.backbone = ResNet(18, norm_cfg=dict(type='BN', requires_grad=False))
    convolutions = sum(m.weight.numel() for m in model.backbone.modules()
                       if isinstance(m, nn.Conv2d))
    assert count_parameters(model)['backbone'] == convolutions


@pytest.fixture(scope='module')
def mask2former(repo_root):
    return build_on_meta(Config.fromfile(repo_root / R50).model)


def test_parts_of_mask2former_by_hand(mask2former):
    height, width = 224, 224
    flops = count_flops(mask2former, (height, width))
    # 4.09 G for classification, of which 2048 x 1000 are the classifier's
    assert flops['backbone'] == pytest.approx(4.09e9 - 2.048e6, rel=2e-3)
    areas = [height * width // stride**2 for stride in (32, 16, 8)]
    quarter, tokens, width = height * width // 16, sum(areas), 256
    values = tokens * 8 * 3 * 4  # sampled by one layer, each of 32 channels, from 4 corners
    layer = tokens * (2 * width * width + width * (8 * 3 * 4 * 3) + 2 * width * 1024) + (
        values * 32 * 4)
    pyramid = sum(area * c * width for area, c in zip(areas, (2048, 1024, 512))) + quarter * (
        256 * width + 9 * width * width + width * width)
    bilinear = quarter * width * 4
    assert flops['pixel decoder'] == 6 * layer + pyramid + bilinear
    # final classes, mask embeddings and masks
    assert flops['head'] == 100 * (134 * width + 3 * width * width) + 100 * width * quarter


def test_mask2former_against_the_paper(mask2former):
    """226 G, less the masks at 1/4 of each decoder layer, of which this library makes none."""
    sizes = coco_test_sizes()
    assert sum(sizes.values()) == pytest.approx(1)
    # one size near the mean area stands for all, the rest is linear to a percent
    area = sum(share * (-(-h // 32) * -(-w // 32)) * 1024 for (h, w), share in sizes.items())
    flops = count_flops(mask2former, (800, 1088))['total'] / (800 * 1088) * area
    masks = 100 * 256 * area * MORE_PLACES
    assert (flops + masks) / 1e9 == pytest.approx(226, rel=0.03)


@pytest.mark.parametrize('name, size, giga', [
    ('r50_8xb2', 512, 71), ('swin-b-p4-w12-384_8xb2', 640, 223)])
def test_semantic_models_against_the_paper(repo_root, name, size, giga):
    """Table V; the released code also makes those masks, and maps of 150 classes at full size."""
    model = build_on_meta(Config.fromfile(
        repo_root / f'configs/mask2former/mask2former_{name}-160k_ade20k-semantic.py').model)
    masks = 100 * 256 * size**2 * MORE_PLACES
    flops = count_flops(model, (size, size))['total'] + masks + 100 * 150 * size**2
    assert flops / 1e9 == pytest.approx(giga, rel=0.005)


def test_wants_the_meta_device():
    with pytest.raises(ValueError, match='build_on_meta'):
        count_flops(Model(), (32, 32))
