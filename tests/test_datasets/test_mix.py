"""Mixing of samples, with the tiny data set whose second image is void."""
import numpy as np
import pytest

from mmpanseg.datasets import RedrawingMixDataset

LOAD = [dict(type='LoadImageFromFile'), dict(type='mmpanseg.LoadPanopticMap')]
JITTER = dict(type='mmpanseg.LargeScaleJitter', size=(6, 8), scale_range=(1, 1))
PACK = dict(type='mmpanseg.PackPanopticInputs')


def build(tiny, pipeline, **kwargs):
    dataset = tiny.build(pipeline=LOAD, serialize_data=False)
    return RedrawingMixDataset(dataset, pipeline, **kwargs)


def test_copy_paste_in_a_pipeline(tiny):
    np.random.seed(0)
    paste = dict(type='mmpanseg.PanopticCopyPaste', size=(7, 9), transforms=[JITTER])
    dataset = build(tiny, [JITTER, paste, PACK])
    assert len(dataset) == 2 and dataset.metainfo['classes'] == ('ball', 'sky')
    numbers = set()
    for _ in range(40):
        packed = dataset[0]
        segments = packed['data_samples'].gt_segments
        assert packed['inputs'].shape == (3, 7, 9) and segments.shape == (7, 9)
        # one segment of stuff, one or two things
        assert (segments.labels == 1).sum() <= 1 and len(segments.drop_empty()) == len(segments)
        numbers.add((segments.labels == 0).sum().item())
    assert numbers == {1, 2}


def test_an_unusable_sample_makes_way_for_another(tiny):
    keep = dict(type='mmpanseg.FilterLabelledPixels', min_pixels=0, stride=1)
    dataset = build(tiny, [keep, PACK])
    assert dataset[1]['data_samples'].img_id == 1


def test_nothing_usable(tiny):
    none = dict(type='mmpanseg.FilterLabelledPixels', min_pixels=10 ** 6, stride=1)
    with pytest.raises(RuntimeError, match='gave up 5 samples in a row.*FilterLabelledPixels'):
        build(tiny, [none], max_refetch=5)[0]
