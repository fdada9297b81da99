"""Noise of piloting masks: the published law at published draws, and what each kind promises."""
import pytest
import torch

from mmpanseg.models.transformer_decoders import mask_piloting as mask_noise
from mmpanseg.models.transformer_decoders.mask_piloting import MASK_NOISE, Piloting


def blob(height=16, width=24, box=(4, 6, 10, 16)):
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[box[0]:box[2], box[1]:box[3]] = True
    return mask


def test_cell_noise_is_the_published_law(golden, monkeypatch):
    noise = torch.load(
        golden / 'mp_former/train_forward_noised.pth',
        weights_only=True)['cases']['noised']['noise']
    for rows, draws in zip(noise['mask_rows_per_layer'], noise['mask_uniform_draws'], strict=True):
        open_cells = ~rows['clean_rows'][:, None]
        assert torch.equal(open_cells.sum((1, 2)), rows['foreground_cells'])
        torch.testing.assert_close(
            mask_noise.flip_probability(open_cells, 0.2).flatten(), rows['flip_probability'])
        monkeypatch.setattr(torch, 'rand', lambda shape, device, draws=draws: draws.view(shape))
        found = mask_noise.cell_noise(open_cells, 0.2)
        monkeypatch.undo()
        assert torch.equal(~found[:, 0], rows['noised_rows'])
        assert torch.equal((found ^ open_cells)[:, 0], rows['flipped_rows'])


def test_label_noise_is_the_published_law(golden, monkeypatch):
    case = torch.load(
        golden / 'mp_former/train_forward_noised.pth', weights_only=True)['cases']['noised']
    noise, mp = case['noise'], case['mp']
    values = torch.zeros(len(mp['true_labels']), dtype=torch.long)
    values[noise['label_chosen']] = noise['label_random_values']
    monkeypatch.setattr(torch, 'rand', lambda *a, **k: noise['label_uniform_draws'])
    monkeypatch.setattr(torch, 'randint', lambda *a, **k: values)
    piloting = Piloting(7, label_noise=0.2, label_flip='any')
    assert torch.equal(piloting.noised_labels(mp['true_labels']), mp['fed_labels'])


@pytest.mark.parametrize('kind, rate', [('other', 0.2), ('any', 0.2 * 6 / 7)])
def test_rate_of_label_flips(kind, rate):
    torch.manual_seed(0)
    labels = torch.arange(7).repeat(4000)
    found = Piloting(7, label_noise=0.2, label_flip=kind).noised_labels(labels)
    assert (found != labels).float().mean() == pytest.approx(rate, abs=0.01)
    counts = torch.bincount((found - labels)[found != labels] % 7, minlength=7)
    assert counts[0] == 0 and counts[1:].min() > 0.8 * counts[1:].max()


@pytest.mark.parametrize('kind', ['other', 'any'])
def test_flips_with_one_class(kind):
    labels = torch.zeros(9, dtype=torch.long)
    assert not Piloting(1, label_noise=1.0, label_flip=kind).noised_labels(labels).any()


@pytest.mark.parametrize('kind, mean', [('point', 0.1), ('cell', 0.2)])
def test_number_and_places_of_inverted_points(kind, mean):
    """0 to ratio times the area, uniform in the paper, binomial in the code; anywhere."""
    torch.manual_seed(0)
    clean = blob()
    masks = clean.expand(1, 4000, 1, -1, -1)
    flips = (MASK_NOISE[kind](masks, 0.2) ^ masks)[0, :, 0]
    number = flips.sum((1, 2)).float()
    assert number.mean() == pytest.approx(mean * clean.sum().item(), rel=0.05)
    if kind == 'point':
        assert number.max() <= 0.2 * clean.sum() and (number == 0).float().mean() < 0.12
        assert number.var() == pytest.approx((0.2 * clean.sum().item())**2 / 12, rel=0.15)
    rate = flips.float().mean(0)
    assert rate[clean].mean().item() == pytest.approx(rate[~clean].mean().item(), rel=0.1)


@pytest.mark.parametrize('kind', ['point', 'cell', 'shift', 'scale'])
def test_nothing_happens_to_empty_masks_and_copies_differ(kind):
    torch.manual_seed(0)
    masks = torch.stack([blob(), torch.zeros(16, 24).bool()]).expand(2, 6, 2, -1, -1)
    found = MASK_NOISE[kind](masks, 0.8)
    assert found.shape == masks.shape and found.dtype == torch.bool
    assert not found[:, :, 1].any()
    assert len({tuple(m.flatten().tolist()) for m in found[:, :, 0].flatten(0, 1)}) > 4


def test_shift_moves_the_mask_and_keeps_its_center_in_the_box():
    torch.manual_seed(0)
    clean = blob()
    masks = clean.expand(1, 500, 1, -1, -1)
    found = MASK_NOISE['shift'](masks, 1.0)[0, :, 0]
    places = set()
    for mask in found:
        y, x = mask.nonzero().T
        assert y.max() - y.min() == 5 and x.max() - x.min() == 9 and mask.sum() == 60
        dy, dx = int(y.min()) - 4, int(x.min()) - 6
        assert abs(dy) <= 3 and abs(dx) <= 5
        places.add((dy, dx))
    assert len(places) > 50


def test_shift_out_of_the_map_cuts():
    mask = blob(box=(0, 0, 4, 24))
    center, extent = mask_noise.boxes(mask)
    assert center.tolist() == [1.5, 11.5] and extent.tolist() == [4, 24]
    moved = mask_noise.resample(mask, center, torch.tensor([-2., 0.]), torch.ones(2))
    assert torch.equal(moved, blob(box=(0, 0, 2, 24)))


def test_scale_enlarges_and_shrinks_about_the_center():
    clean = blob(32, 32, (12, 12, 20, 20))
    center, _ = mask_noise.boxes(clean)
    for factor, box in ((2.0, (8, 8, 24, 24)), (0.5, (14, 14, 18, 18))):
        found = mask_noise.resample(clean, center, torch.zeros(2), torch.full((2, ), factor))
        assert torch.equal(found, blob(32, 32, box))
    torch.manual_seed(0)
    areas = MASK_NOISE['scale'](clean.expand(1, 300, 1, -1, -1), 0.5)[0, :, 0].sum((1, 2))
    assert areas.min() < 25 and areas.max() > 120
