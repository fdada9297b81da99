"""Sampling of pixels, and losses at them, against published indices and slow definitions."""
import pytest
import torch

from mmpanseg.models.layers.bilinear_resize import resize
from mmpanseg.models.losses.kmax_losses import (
    discrimination_loss,
    sample_grid,
    sample_pixels,
    sampling_logits,
    semantic_loss,
)


def test_published_noise_samples_the_published_pixels(golden, monkeypatch):
    cases = torch.load(golden / 'kmax_deeplab/matcher_and_losses.pth', weights_only=True)
    for name in ('main', 'overlapping_targets', 'one_image_without_targets'):
        for sample in cases[name]['sampling']:
            monkeypatch.setattr(torch, 'rand_like', lambda _, sample=sample: sample['uniform'])
            pixels = sample_pixels(sample['sample_logits'], sample['indices'].shape[1])
            # single precision does not order the logits of void pixels
            labeled = sample['sample_logits'].gather(1, sample['indices']) > -9e4
            assert torch.equal(pixels[labeled], sample['indices'][labeled])


def test_void_is_sampled_last_and_no_pixel_twice():
    areas = torch.tensor([[0., 3, 3, 3, 0, 1, 0]])
    for seed in range(20):
        torch.manual_seed(seed)
        pixels = sample_pixels(sampling_logits(areas, 1.5), 5)[0]
        assert {1, 2, 3, 5} < set(pixels.tolist()) and len(set(pixels.tolist())) == 5


def test_all_pixels_are_returned_if_there_are_too_few():
    assert sorted(sample_pixels(torch.zeros(1, 4), 9)[0].tolist()) == [0, 1, 2, 3]


def test_temperature_one_samples_all_segments_equally():
    torch.manual_seed(0)
    areas = torch.tensor([90.] * 90 + [10.] * 10).expand(4000, -1)
    first = sample_pixels(sampling_logits(areas, 1.0), 1)[:, 0]
    assert (first >= 90).float().mean() == pytest.approx(0.5, abs=0.04)
    first = sample_pixels(sampling_logits(areas, 0.0), 1)[:, 0]
    assert (first >= 90).float().mean() == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize('strip', [1, 4, 9])
def test_discrimination_against_its_definition(monkeypatch, strip):
    monkeypatch.setattr('mmpanseg.models.losses.kmax_losses.chunk_rows', lambda *_: strip)
    torch.manual_seed(0)
    embeds = torch.nn.functional.normalize(torch.randn(2, 4, 9), dim=1).requires_grad_()
    segment = torch.randint(-1, 3, (2, 9))
    targets = (segment[:, None] == torch.arange(3)[:, None]).float()
    total = 0
    for image in range(2):
        losses = []
        for i in range(9):
            if segment[image, i] >= 0:
                alike = segment[image] == segment[image, i]
                log_probs = (embeds[image].T[i] @ embeds[image] / 0.3).log_softmax(0)
                losses.append(-log_probs[alike].mean())
        total += torch.stack(losses).mean() / 2
    ours = discrimination_loss(embeds, targets)
    torch.testing.assert_close(ours, total)
    torch.testing.assert_close(*(
        torch.autograd.grad(x, embeds)[0] for x in (ours, total)))


def test_semantic_loss_skips_pixels_without_a_label():
    logits = torch.randn(1, 3, 4)
    labels = torch.tensor([[2, -1, 0, 1]])
    expected = torch.nn.functional.cross_entropy(logits[0].T[[0, 2]], torch.tensor([2, 0]))
    torch.testing.assert_close(
        semantic_loss(logits, labels, torch.tensor([[1, 0, 2]])), expected)


@pytest.mark.parametrize('align_corners', [True, False])
@pytest.mark.parametrize('sizes', [((3, 5), (9, 17)), ((4, 4), (13, 7)), ((6, 6), (6, 6)),
                                   ((1, 2), (1, 5))])
def test_sampling_equals_resizing(align_corners, sizes):
    torch.manual_seed(0)
    maps = torch.randn(2, 3, *sizes[0])
    index = torch.stack([torch.randperm(sizes[1][0] * sizes[1][1]) for _ in range(2)])
    resized = resize(maps, sizes[1], align_corners).flatten(2)
    torch.testing.assert_close(
        sample_grid(maps, index, sizes[1], align_corners),
        resized.gather(2, index[:, None].expand(-1, 3, -1)), atol=1e-5, rtol=1e-5)
