"""Where half precision is not wanted."""
from contextlib import AbstractContextManager, nullcontext

import torch


def without_autocast(device: torch.device) -> AbstractContextManager:
    """Switch autocast off in a block of code on a device (the meta device has none to switch)."""
    return nullcontext() if device.type == 'meta' else torch.autocast(device.type, enabled=False)
