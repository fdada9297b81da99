"""States of the random generators of this process, as tensors and plain containers."""
import random
from typing import Any

import numpy as np
import torch


def get_random_states() -> dict[str, Any]:
    """Read the states of the generators of torch (CPU, every GPU), NumPy and Python.

    Returns:
        dict for :func:`set_random_states`; a checkpoint that contains it needs no pickled classes.
    """
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return dict(
        torch=torch.get_rng_state(),
        cuda=torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
        numpy=[name, torch.from_numpy(np.asarray(keys).astype(np.int64)), int(position),
               int(has_gauss), float(cached)],
        python=list(random.getstate()))


def set_random_states(states: dict[str, Any]) -> None:
    """Set the states of all generators.

    Args:
        states: result of :func:`get_random_states`. States of GPUs that this machine lacks are
            left out.
    """
    torch.set_rng_state(states['torch'].cpu())
    for device, state in enumerate(states['cuda'][:torch.cuda.device_count()]):
        torch.cuda.set_rng_state(state.cpu(), device)
    name, keys, position, has_gauss, cached = states['numpy']
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), position, has_gauss, cached))
    version, numbers, gauss = states['python']
    random.setstate((version, tuple(numbers), gauss))
