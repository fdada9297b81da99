"""Comparison of two contents of checkpoints, bit by bit."""
import numpy as np
import torch
from mmengine.logging import HistoryBuffer


def assert_identical(found, expected, at='content'):
    """Same types, same bits, also of NaN, -0.0 and attributes."""
    assert type(found) is type(expected), at
    if isinstance(expected, torch.Tensor):
        assert (found.dtype, found.shape, found.stride(), found.device, found.requires_grad) == (
            expected.dtype, expected.shape, expected.stride(), expected.device,
            expected.requires_grad), at
        assert bits(found) == bits(expected), at
    elif isinstance(expected, (np.ndarray, np.generic)):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape), at
        assert found.tobytes() == expected.tobytes(), at
    elif isinstance(expected, dict):
        assert list(found) == list(expected), at
        for key in expected:
            assert_identical(found[key], expected[key], f'{at}[{key!r}]')
        attributes = getattr(expected, '_metadata', None)
        assert_identical(getattr(found, '_metadata', None), attributes, f'{at}._metadata')
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected), at
        for index, pair in enumerate(zip(found, expected)):
            assert_identical(*pair, f'{at}[{index}]')
    elif isinstance(expected, HistoryBuffer):
        assert_identical(vars(found), vars(expected), f'{at}.__dict__')
    elif isinstance(expected, float):
        assert np.float64(found).tobytes() == np.float64(expected).tobytes(), at
    else:
        assert found == expected, at


def bits(tensor):
    tensor = tensor.detach().contiguous().reshape(-1)
    return tensor.view(torch.uint8).numpy().tobytes() if tensor.numel() else b''
