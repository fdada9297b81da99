"""Semantic FPN, FaPN and BiFPN against mmdet's head and the papers' equations."""
import pytest
import torch
import torch.nn.functional as F
from mmdet.models.seg_heads import PanopticFPNHead

from mmpanseg.registry import MODELS

WIDTHS = (4, 8, 12, 16)


def build(name, channels=16, **kwargs):
    torch.manual_seed(0)
    decoder = MODELS.build(dict(
        type=f'mmpanseg.{name}', in_channels=WIDTHS, channels=channels, out_channels=20,
        norm_cfg=dict(type='GN', num_groups=4), **kwargs))
    decoder.init_weights()
    with torch.no_grad():  # no value stays at an initial zero or one
        for parameter in decoder.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return decoder


def maps(height, width):
    """Make backbone maps of an image of four times that size; sides are rounded up."""
    torch.manual_seed(1)
    features = []
    for channels in WIDTHS:
        features.append(torch.randn(2, channels, height, width))
        height, width = -(-height // 2), -(-width // 2)
    return features


@pytest.mark.parametrize('name, size', [
    ('SemanticFPNPixelDecoder', (17, 21)), ('FaPNPixelDecoder', (9, 13)),
    ('BiFPNPixelDecoder', (17, 22))])
def test_shapes_and_gradients(name, size):
    decoder = build(name, **(dict(num_layers=2) if 'BiFPN' in name else {}), num_outs=3)
    features = maps(*size)
    mask_features, found = decoder(features)
    assert mask_features.shape == (2, 20, *size)
    assert [x.shape for x in found] == [(2, 16, *x.shape[2:]) for x in features[:0:-1]]
    (mask_features.square().sum() + sum(x.square().sum() for x in found)).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in decoder.parameters())


def test_semantic_fpn_is_mmdets():
    decoder = build('SemanticFPNPixelDecoder', num_outs=4)
    head = PanopticFPNHead(in_channels=16, inner_channels=16,
                           norm_cfg=dict(type='GN', num_groups=4))
    for theirs, ours in zip(head.conv_upsample_layers, decoder.scale_heads[::-1], strict=True):
        theirs.conv.load_state_dict(ours.state_dict(), strict=True)
    found = {}
    head.conv_logits.register_forward_hook(
        lambda module, args, output: found.update(sum=args[0]))
    mask_features, pyramid = decoder(maps(16, 24))
    head(pyramid[::-1])
    torch.testing.assert_close(mask_features, decoder.mask_feature(found['sum']))


def test_semantic_fpn_keeps_the_pyramid():
    decoder = build('SemanticFPNPixelDecoder')
    plain = build('FPNPixelDecoder')
    plain.load_state_dict({name: x for name, x in decoder.state_dict().items()
                           if not name.startswith('scale_heads')}, strict=True)
    features = maps(16, 24)
    for found, expected in zip(decoder(features)[1], plain(features)[1], strict=True):
        torch.testing.assert_close(found, expected)


def test_fapn_alignment_by_equations():
    decoder = build('FaPNPixelDecoder')
    part = decoder.lateral_convs[1]
    fine, coarse = maps(8, 10)[1], torch.randn(2, 16, 2, 3)
    # feature selection: z, u, then f_s(C + u C)
    z = fine.flatten(2).mean(2)
    u = torch.sigmoid(z @ part.importance.weight[:, :, 0, 0].T)
    weighted = torch.einsum('bchw,bc->bchw', fine, 1 + u)
    selected = F.group_norm(
        F.conv2d(weighted, part.select.conv.weight), 4, part.select.gn.weight, part.select.gn.bias)
    upsampled = F.interpolate(coarse, fine.shape[2:], mode='bilinear')
    difference = F.group_norm(
        F.conv2d(torch.cat([selected, 2 * upsampled], 1), part.difference.conv.weight), 4,
        part.difference.gn.weight, part.difference.gn.bias)
    values = F.conv2d(difference, part.offset.weight, part.offset.bias, padding=1)
    aligned = part.align(upsampled, values[:, :144], values[:, 144:].sigmoid())
    torch.testing.assert_close(part(fine, coarse), selected + aligned.clamp(min=0))


def test_fapn_starts_as_half_a_convolution():
    torch.manual_seed(0)
    decoder = MODELS.build(dict(
        type='mmpanseg.FaPNPixelDecoder', in_channels=WIDTHS, channels=32, out_channels=20))
    decoder.init_weights()
    part = decoder.lateral_convs[0]
    fine, coarse = torch.randn(1, 4, 6, 8), torch.randn(1, 32, 6, 8)
    expected = F.conv2d(coarse, part.align.weight / 2, part.align.bias, padding=1).relu()
    importance = (fine.mean((2, 3), keepdim=True))
    selected = part.select(fine * (1 + part.importance(importance).sigmoid()))
    torch.testing.assert_close(part(fine, coarse) - selected, expected, atol=1e-5, rtol=1e-4)


def test_bifpn_layer_by_equations():
    """One layer over four levels, as the equations of EfficientDet, section 3.3."""
    layer = build('BiFPNPixelDecoder', num_layers=1).layers[0]
    p2, p3, p4, p5 = (torch.randn(2, 16, 16 >> i, 24 >> i) for i in range(4))

    def node(fusion, *inputs):
        weights = [max(w, 0.0) for w in fusion.weights.tolist()]
        fused = sum(w * x for w, x in zip(weights, inputs, strict=True)) / (sum(weights) + 1e-4)
        fused = fused * torch.sigmoid(fused)
        depthwise = torch.cat([
            F.conv2d(fused[:, c:c + 1], fusion.depthwise.weight[c:c + 1], padding=1)
            for c in range(16)], dim=1)
        conv, norm = fusion.pointwise.conv, fusion.pointwise.gn
        return F.group_norm(F.conv2d(depthwise, conv.weight), 4, norm.weight, norm.bias)

    def double(x):
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)

    def halve(x):
        return F.max_pool2d(x, 3, stride=2, padding=1)

    down4 = node(layer.down[2], p4, double(p5))
    down3 = node(layer.down[1], p3, double(down4))
    out2 = node(layer.down[0], p2, double(down3))
    out3 = node(layer.up[0], p3, down3, halve(out2))
    out4 = node(layer.up[1], p4, down4, halve(out3))
    out5 = node(layer.up[2], p5, halve(out4))
    for found, expected in zip(layer([p2, p3, p4, p5]), (out2, out3, out4, out5), strict=True):
        torch.testing.assert_close(found, expected)
