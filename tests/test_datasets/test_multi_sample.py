"""Mixing of samples, with the tiny data set whose second image is void."""
import numpy as np
import pytest

from mmpanseg.datasets import ResamplingMixDataset, multi_sample

LOAD = [dict(type='LoadImageFromFile'), dict(type='mmpanseg.LoadPanopticMap')]
JITTER = dict(type='mmpanseg.LargeScaleJitter', size=(6, 8), scale_range=(1, 1))
PACK = dict(type='mmpanseg.PackPanopticInputs')


def build(tiny, pipeline, **kwargs):
    dataset = tiny.build(pipeline=LOAD, serialize_data=False)
    return ResamplingMixDataset(dataset, pipeline, **kwargs)


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
    keep = dict(type='mmpanseg.FilterLabeledPixels', min_pixels=0, stride=1)
    dataset = build(tiny, [keep, PACK])
    assert dataset[1]['data_samples'].img_id == 1


def test_nothing_usable(tiny):
    none = dict(type='mmpanseg.FilterLabeledPixels', min_pixels=10 ** 6, stride=1)
    with pytest.raises(RuntimeError, match='rejected 5 samples in a row.*FilterLabeledPixels'):
        build(tiny, [none], max_refetch=5)[0]


class Choosy:
    """Takes a sample after so many others."""

    def __init__(self, *given_up):
        self.given_up = list(given_up)
        self.calls = 0

    def __call__(self, results):
        self.calls += 1
        if self.given_up and self.calls <= self.given_up[0]:
            return None
        self.given_up, self.calls = self.given_up[1:], 0
        return results


def test_a_filter_that_fits_no_sample_is_named_soon(tiny):
    none = dict(type='mmpanseg.FilterLabeledPixels', min_pixels=47, stride=1)
    data = build(tiny, [none])
    reads = []
    data.dataset.prepare_data, inner = lambda k: (reads.append(k), inner(k))[1], \
        data.dataset.prepare_data
    with pytest.raises(RuntimeError) as caught:
        data[0]
    text = str(caught.value)
    assert len(reads) == 25
    assert 'rejected 25 samples in a row' in text and text.count('.png by FilterLabeled') == 3
    assert 'labeled pixels of 6x8, more than 47 needed' in text
    assert 'smaller min_pixels' in text


def test_one_that_fits_some_is_allowed_more(tiny, monkeypatch):
    said = []
    monkeypatch.setattr(multi_sample, 'print_log', lambda text, **_: said.append(text))
    data = build(tiny, [])
    data.pipeline = [Choosy(24, 90, 100)]
    assert data[0] is not None and said == []
    assert data[0] is not None
    assert len(said) == 1 and 'rejected 25 samples in a row' in said[0]
    data.max_refetch = 60
    with pytest.raises(RuntimeError, match='rejected 60 samples in a row'):
        data[0]
