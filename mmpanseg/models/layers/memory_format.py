"""In which order the numbers of an image or a feature map should lie."""
import torch

# asked once: a compiler cannot follow the question
_CPU = torch.backends.cpu.get_cpu_capability()


def convolution_format(device: torch.device) -> torch.memory_format:
    """The order in which convolutions on a device are fastest: channels last, with one exception.

    Processors with AVX2 and no AVX-512 get their weight gradients from oneDNN in less than half of
    the time if channels come first, which outweighs what else the order costs.
    """
    slow_gradients = device.type == 'cpu' and torch.is_grad_enabled() and _CPU == 'AVX2'
    return torch.contiguous_format if slow_gradients else torch.channels_last
