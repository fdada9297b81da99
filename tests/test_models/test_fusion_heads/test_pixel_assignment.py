"""The arg-max over masks against its definition, pixel by pixel."""
import pytest
import torch

from mmpanseg.models.fusion_heads import pixel_assignment
from mmpanseg.models.fusion_heads.pixel_assignment import assign_by_argmax
from mmpanseg.models.inference.full_size_masks import SIGMOID


class Masks:
    """Mask logits that come some at a time."""
    activation = SIGMOID

    def __init__(self, logits, at_once):
        self.logits, self.at_once = logits, at_once
        self.size = tuple(logits.shape[1:])

    def chunks(self, queries):
        for part in queries.split(self.at_once):
            yield self.logits[part]


def by_pixel(scores, masks):
    """Winner (the first of equals) and whether its own mask is at least 0.5 there."""
    winner = torch.zeros(masks.shape[1:], dtype=torch.int32)
    inside = torch.zeros(masks.shape[1:], dtype=torch.bool)
    for y in range(masks.shape[1]):
        for x in range(masks.shape[2]):
            values = (scores * masks[:, y, x]).tolist()
            k = values.index(max(values))
            winner[y, x], inside[y, x] = k, masks[k, y, x] >= 0.5
    return winner, inside


@pytest.mark.parametrize('at_once', [1, 2, 5, 9])
@pytest.mark.parametrize('strip', [1, 40, 1 << 18])
def test_definition(monkeypatch, at_once, strip):
    monkeypatch.setattr(pixel_assignment, '_STRIP_ON_CPU', strip)
    generator = torch.Generator().manual_seed(0)
    # few values, so that masks tie within a chunk and across chunks; zero is 0.5 exactly
    logits = torch.randint(-2, 3, (9, 7, 6), generator=generator).float()
    scores = torch.tensor([0.9, 0.9, 0.5, 0.9, 0.8, 0.5, 1.0, 0.9, 1.0])
    winner, inside, own = assign_by_argmax(scores, torch.arange(9), Masks(logits, at_once))
    expected, expected_inside = by_pixel(scores, logits.sigmoid())
    assert torch.equal(winner, expected)
    assert torch.equal(inside, expected_inside)
    assert own.tolist() == [int((mask >= 0).sum()) for mask in logits]


def test_no_query():
    winner, inside, own = assign_by_argmax(
        torch.zeros(0), torch.arange(0), Masks(torch.zeros(0, 3, 4), 2))
    assert winner.shape == inside.shape == (3, 4)
    assert not winner.any() and not inside.any() and own.tolist() == []


def test_a_mask_that_is_not_a_number_wins_nothing():
    logits = torch.zeros(2, 2, 2)
    logits[0] = float('nan')
    winner, inside, own = assign_by_argmax(torch.ones(2), torch.arange(2), Masks(logits, 1))
    assert (winner == 1).all() and inside.all() and own.tolist() == [0, 4]
