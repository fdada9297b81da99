"""Segments of maps against definitions with masks, run lengths against pycocotools."""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as rle_tools

from mmpanseg.structures.map_segments import (
    decode_segments,
    encode_segments,
    find_segments,
    read_counts,
)

from ..fuzz import cases

SIZES = st.tuples(st.integers(1, 6), st.integers(1, 6))
# cells of several pixels: run lengths of more than five bits
CELLS = st.sampled_from([(1, 1), (3, 1), (19, 2)])
# ids of some digits
MAPS = st.builds(
    lambda values, cell, factor: factor * np.kron(values, np.ones(cell, np.int32)),
    SIZES.flatmap(lambda size: arrays(np.int32, size, elements=st.integers(0, 3))), CELLS,
    st.sampled_from([1, 70_000, 5_000_000]))
MASKS = st.builds(lambda mask, cell: np.kron(mask, np.ones(cell, bool)),
                  SIZES.flatmap(lambda size: arrays(bool, size)), CELLS)


@cases(100)
@given(MAPS)
def test_areas_and_boxes(ids):
    found = find_segments(ids)
    assert found.ids.tolist() == np.unique(ids).tolist()
    for value, area, box in zip(found.ids, found.areas, found.boxes):
        rows, columns = np.nonzero(ids == value)
        assert area == len(rows)
        assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@cases(100)
@given(MAPS)
def test_run_lengths(ids):
    rles = encode_segments(ids)
    assert rles == {value: rle_tools.encode(np.asfortranarray(ids == value, np.uint8))
                    for value in np.unique(ids).tolist()}
    rles.pop(0, None)
    restored = decode_segments(rles, ids.shape)
    assert restored.dtype == np.int32 and (restored == ids).all()


@cases(100)
@given(MASKS)
def test_counts(mask):
    flat = mask.ravel('F')
    borders = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts = np.diff([0, *borders, flat.size]).tolist()
    if flat[0]:
        counts.insert(0, 0)
    encoded = rle_tools.encode(np.asfortranarray(mask, np.uint8))['counts']
    assert read_counts(encoded, mask.shape).tolist() == counts
    assert read_counts(encoded.decode(), mask.shape).tolist() == counts


def test_no_pixels():
    assert find_segments(np.zeros((0, 3), np.int32)).boxes.shape == (0, 4)
    assert encode_segments(np.zeros((0, 3), np.int32)) == {}
    assert (decode_segments({}, (2, 3)) == 0).all()


@pytest.mark.parametrize('counts', ['', '9', '04', '0d0', 'zzzz', 'P', '\x00', 'é', '1' * 200,
                                    'PPPPPPPPP0'])
def test_damaged_counts(counts):
    with pytest.raises(ValueError, match='run lengths'):
        read_counts(counts, (4, 3))


@cases(100)
@given(st.binary(max_size=12))
def test_any_bytes(counts):
    """Counts that are accepted are those of a mask that pycocotools decodes."""
    try:
        found = read_counts(counts, (4, 3))
    except ValueError:
        return
    mask = rle_tools.decode(dict(size=[4, 3], counts=counts))
    assert mask.sum() == found[1::2].sum() and found.sum() == 12


def test_overlapping_masks():
    rle = rle_tools.encode(np.asfortranarray(np.eye(3, dtype=np.uint8)))
    with pytest.raises(ValueError, match='two masks of a map overlap'):
        decode_segments({1: rle, 2: rle}, (3, 3))
