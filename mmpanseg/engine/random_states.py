"""States of the random generators of a process: reading, restoring, exchanging for a while."""
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor


class PrivateGenerators:
    """Generators of Python, numpy and torch (CPU) that code uses instead of those of the process.

    Args:
        key: integers >= 0 that define the first state. Equal keys give equal random numbers, in any
            process.
    """

    def __init__(self, *key: int) -> None:
        self._key = key
        self._states: tuple | None = None

    @contextmanager
    def active(self) -> Iterator[None]:
        """Use these generators within a ``with`` block; a later block continues."""
        outer = _host_states()
        if self._states is None:
            _seed_host(self._key)
        else:
            _set_host_states(self._states)
        try:
            yield
        finally:
            self._states = _host_states()
            _set_host_states(outer)


def read_generators() -> dict[str, Any]:
    """Read the states of all generators of this process.

    Returns:
        Numbers, tensors, dicts and lists of them only: ``python``, ``numpy``, ``torch`` (CPU) and
        ``cuda``, a list with the state of each device, empty without a GPU.
    """
    (version, words, gauss), numbers, on_cpu = _host_states()
    return dict(
        python=dict(version=version, words=torch.tensor(words), gauss=gauss),
        numpy=dict(numbers, state=dict(
            numbers['state'], key=torch.from_numpy(numbers['state']['key'].astype(np.int64)))),
        torch=on_cpu,
        cuda=torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [])


def write_generators(states: dict[str, Any]) -> None:
    """Restore the states of all generators of this process.

    Args:
        states: what :func:`read_generators` returned, on any device. States of devices that this
            machine lacks are not used.
    """
    python, numbers = states['python'], states['numpy']
    _set_host_states((
        (python['version'], tuple(python['words'].tolist()), python['gauss']),
        dict(numbers, state=dict(
            numbers['state'], key=numbers['state']['key'].cpu().numpy().astype(np.uint32))),
        states['torch'].cpu()))
    if torch.cuda.is_available():
        for device, state in enumerate(states['cuda'][:torch.cuda.device_count()]):
            torch.cuda.set_rng_state(state.cpu(), device)


def _host_states() -> tuple[tuple, dict[str, Any], Tensor]:
    return random.getstate(), np.random.get_state(legacy=False), torch.get_rng_state()


def _set_host_states(states: tuple) -> None:
    python, numbers, on_cpu = states
    random.setstate(python)
    np.random.set_state(numbers)
    torch.set_rng_state(on_cpu)


def _seed_host(key: tuple[int, ...]) -> None:
    words = np.random.SeedSequence(key).generate_state(6)
    random.seed(int(words[0]) << 32 | int(words[1]))
    np.random.seed(words[2:4])
    # torch.manual_seed would also seed the generators of GPUs
    torch.default_generator.manual_seed(int(words[4]) << 32 | int(words[5]))
