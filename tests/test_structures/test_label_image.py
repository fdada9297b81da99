"""Label images: distinct values of maps."""
import numpy as np

from mmpanseg.structures.label_image import distinct_values


def test_distinct_values():
    values = np.random.default_rng(0).integers(-3, 9, (13, 17))
    assert np.array_equal(distinct_values(values), np.unique(values))
    assert distinct_values(np.full((1, 1), 5)).tolist() == [5]
