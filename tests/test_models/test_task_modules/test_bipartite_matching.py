"""Assignment with costs that a diverging model produces."""
import itertools

import numpy as np
import pytest
import torch

from mmpanseg.models.task_modules.bipartite_matching import (
    MaskMatchInputs,
    OneToOneAssigner,
    build_costs,
    solve_assignment,
)


def cheapest(cost):
    """The best of all assignments of columns to rows."""
    rows, columns = cost.shape
    return min(itertools.permutations(range(rows), columns),
               key=lambda choice: sum(cost[r, c] for c, r in enumerate(choice)))


@pytest.mark.parametrize('seed', range(5))
def test_cheapest_assignment(seed):
    cost = np.random.default_rng(seed).normal(size=(5, 3))
    rows, columns = solve_assignment(cost)
    assert dict(zip(columns, rows)) == dict(enumerate(cheapest(cost)))


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite_are_never_matched(value):
    cost = np.random.default_rng(0).normal(size=(5, 3))
    cost[[1, 3], [0, 2]] = value
    rows, columns = solve_assignment(cost)
    assert sorted(columns) == [0, 1, 2] and set(rows) == {0, 2, 4}
    assert len(solve_assignment(np.full((4, 2), value))[0]) == 0


def test_batch_is_matched_image_by_image():
    torch.manual_seed(0)
    costs = torch.randn(3, 2, 6, 4)
    matches = OneToOneAssigner()(costs, [4, 2])
    assert matches.rows.splits == [12, 6] and len(matches) == 18
    assert matches.rows.image.tolist() == [0] * 12 + [1] * 6
    for layer in range(3):
        for image, count in ((0, 4), (1, 2)):
            rows, columns = solve_assignment(costs[layer, image, :, :count].numpy())
            here = (matches.rows.layer == layer) & (matches.rows.image == image)
            assert matches.rows.query[here].tolist() == rows.tolist()
            assert matches.segment[here].tolist() == columns.tolist()


def test_matching_without_costs_is_refused():
    with pytest.raises(ValueError, match='criterion.match_costs is empty'):
        build_costs('match_costs', [], MaskMatchInputs)
