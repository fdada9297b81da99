"""How much of a large intermediate to hold at once."""
import torch

# Elements of a transient stack: small enough for a CPU's outer cache, large enough to keep a GPU
# busy.
CHUNK_ELEMENTS = {'cpu': 1 << 22, 'default': 1 << 26}


def chunk_rows(device: torch.device, row_elements: int) -> int:
    """Rows of ``row_elements`` each that a transient stack should hold on a device."""
    budget = CHUNK_ELEMENTS.get(device.type, CHUNK_ELEMENTS['default'])
    return max(1, budget // row_elements)
