"""The number per query that tells whether its mask logits are finite."""
import math

import pytest
import torch

from mmpanseg.structures.mask_logits import DenseMaskLogits, ProductMaskLogits
from mmpanseg.utils.finite import describe_non_finite, named_tensors, non_finite


@pytest.mark.parametrize('value', [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize('place', ['embeds', 'features', 'dense', None])
def test_checksums_agree_with_the_logits(place, value):
    generator = torch.Generator().manual_seed(0)
    embeds = torch.randn(2, 2, 5, 3, generator=generator)
    features = torch.randn(2, 3, 4, 6, generator=generator)
    if place == 'embeds':
        embeds[-1, 1, 2, 0] = value
        embeds[0, 1, 3, 0] = value  # of an earlier layer
    if place == 'features':
        features[1, 2, 3, 5] = value
    dense = torch.einsum('bqc,bchw->bqhw', embeds[-1], features)
    if place == 'dense':
        dense[1, 4, 0, 1] = value
        dense[1, 3, 0, 1] = value
        dense[1, 3, 0, 2] = -value
    for masks in ([DenseMaskLogits([dense])] if place == 'dense' else
                  [ProductMaskLogits(embeds, features), DenseMaskLogits([dense])]):
        for image in range(2):
            expected = dense[image].isfinite().flatten(1).all(1)
            assert torch.equal(masks.checksums(image).isfinite(), expected)
    assert bool(dense.isfinite().all()) == (place is None)


def test_names_of_tensors():
    tensors = dict(named_tensors(dict(
        a=torch.ones(3), b=[torch.tensor([1.0, math.nan]), dict(c=torch.tensor([3]))],
        large=torch.full((4, ), 3e38), half=torch.full((9, ), 6e4, dtype=torch.float16),
        d=torch.tensor([[math.inf, -math.inf]], dtype=torch.bfloat16), e='text',
        empty=torch.zeros(0), meta=torch.empty(2, device='meta'))))
    assert tensors.keys() == {'a', 'b.0', 'b.1.c', 'large', 'half', 'd', 'empty', 'meta'}
    assert non_finite(tensors) == ['b.0', 'd']
    assert describe_non_finite(tensors) == (
        '2 of 8 tensors: b.0 (1 of 2 numbers), d (2 of 2 numbers)')
    assert describe_non_finite(dict(a=torch.ones(3))) == ''
