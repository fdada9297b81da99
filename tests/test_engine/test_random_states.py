"""States of random generators: read, written to a file, restored, exchanged."""
import random

import numpy as np
import pytest
import torch

from mmpanseg.engine.random_states import PrivateGenerators, read_generators, write_generators


def draw() -> list[float]:
    """One number of each kind; normal numbers come in pairs, of which generators keep one."""
    return [random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(),
            torch.rand(1).item(), torch.randn(1).item()]


def test_restored_generators_continue(tmp_path):
    """Through a file that is read without executing anything."""
    draw()
    torch.save(read_generators(), tmp_path / 'states.pth')
    expected = [draw() for _ in range(400)]  # more numbers than one state of MT19937 has
    draw()
    write_generators(torch.load(tmp_path / 'states.pth', weights_only=True))
    assert [draw() for _ in range(400)] == expected


def test_private_generators():
    states = read_generators()
    expected = draw()
    write_generators(states)
    generators = PrivateGenerators(1, 2, 3)
    with generators.active():
        first = draw()
    with pytest.raises(KeyError), generators.active():
        second = draw()
        raise KeyError
    assert draw() == expected  # of the process, untouched by an error as well
    with PrivateGenerators(1, 2, 3).active():
        assert draw() == first and draw() == second != first
    for key in ((1, 2), (1, 2, 4), (1, 2, 3, 1), (2**40, 2, 3)):
        with PrivateGenerators(*key).active():
            assert not set(draw()) & set(first)
