"""Order and size of the batches of a predictor."""
import numpy as np
import pytest

from mmpanseg.apis.batches import READ_AHEAD, InOrder, equal_batches
from mmpanseg.apis.predictor_errors import FailedInput


def run(sizes, batch_size):
    """Batches of numbered images, and the order in which their results come out."""
    read = []

    def images():
        for number, size in enumerate(sizes):
            read.append(number)
            yield number, size

    in_order, batches, order = InOrder(), [], []
    for found in equal_batches(images(), batch_size, lambda size: size):
        entries = [found] if isinstance(found, tuple) else found
        batches.append([number for number, _ in entries])
        # no image waits longer than the window
        assert read[-1] - min(batches[-1]) <= READ_AHEAD * batch_size
        for number, _ in entries:
            order += in_order.add(number, number)
    return batches, order


@pytest.mark.parametrize('batch_size', [1, 2, 4])
def test_batches_have_one_size_and_results_are_in_order(batch_size):
    sizes = np.random.default_rng(0).integers(0, 5, 200).tolist()
    batches, order = run(sizes, batch_size)
    assert order == list(range(200))
    assert sorted(sum(batches, [])) == order
    for batch in batches:
        assert len(batch) <= batch_size
        assert len({sizes[number] for number in batch}) == 1
    full = sum(len(batch) == batch_size for batch in batches)
    assert full >= 0.9 * (200 // batch_size) - 5


def test_a_rare_size_does_not_wait_for_the_end():
    batches, order = run([9] + [1] * 100, 2)
    assert batches.index([0]) < 12 and order == list(range(101))


def test_failed_inputs_are_passed_on():
    failed = FailedInput('x', ValueError('y'))
    images = [(0, 'a'), (1, failed), (2, 'a')]
    assert list(equal_batches(images, 2, len)) == [(1, failed), [(0, 'a'), (2, 'a')]]
