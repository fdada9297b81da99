"""Scores of generated data against direct definitions: ties, crowds, void, images of one pixel."""
import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData

from mmpanseg.evaluation import BoundaryAPMetric, InstanceMetric, PanopticMap, image_pq
from mmpanseg.evaluation.boundary import map_boundary, mask_boundary

from ..fuzz import cases
from . import test_boundary as boundaries
from . import test_instance_metric as instances
from . import test_panoptic_quality as panoptic
from . import test_semantic_metric as semantic

SIDES = st.integers(1, 8)
IDS = st.sampled_from([1, 2, 7, 255, 256, 4096, 70_000, (1 << 24) - 1])


@st.composite
def maps(draw, height: int, width: int) -> PanopticMap:
    """A map of few ids, so that segments touch, overlap with each other and are cut by void."""
    chosen = draw(st.lists(IDS, max_size=4, unique=True))
    values = draw(arrays(np.int64, (height, width), elements=st.sampled_from([0, *chosen])))
    ids = [value for value in chosen if (values == value).any()]
    count = len(ids)
    return PanopticMap(
        values, ids, draw(st.lists(st.integers(0, 2), min_size=count, max_size=count)),
        draw(st.lists(st.booleans(), min_size=count, max_size=count)))


@cases(120)
@given(data=st.data())
def test_panoptic_quality(data):
    size = data.draw(SIDES), data.draw(SIDES)
    gt, pred = data.draw(maps(*size)), data.draw(maps(*size))
    expected = panoptic.definition(gt, pred)
    found = image_pq(gt, pred, panoptic.NUM_CLASSES).sums
    np.testing.assert_allclose(found, expected, atol=1e-12)


@cases(60)
@given(data=st.data())
def test_boundaries(data):
    size = data.draw(SIDES), data.draw(SIDES)
    segments = data.draw(arrays(np.int32, size, elements=st.integers(0, 2)))
    distance = data.draw(st.integers(1, 4))
    boundary = map_boundary(segments, distance)
    np.testing.assert_array_equal(boundary, boundaries.near_other(segments, distance))
    mask = segments == 1
    np.testing.assert_array_equal(mask_boundary(mask, distance), boundary & mask)


@cases(25)
@given(data=st.data())
def test_semantic_scores(data, tmp_path):
    images = []
    for number in range(data.draw(st.integers(1, 3))):
        size = data.draw(SIDES), data.draw(SIDES)
        truth = data.draw(arrays(np.uint8, size, elements=st.sampled_from([0, 1, 3, 255])))
        pred = data.draw(arrays(np.int64, size, elements=st.integers(0, 3)))
        path = semantic.write_labels(tmp_path / f'{number}.png', truth)
        images.append((semantic.make_sample(pred, img_id=number, seg_map_path=path), truth, pred))
    assume(any((truth != 255).any() for _, truth, _ in images))
    found = semantic.evaluate([sample for sample, _, _ in images])
    expected = semantic.definition([(truth, pred) for _, truth, pred in images])
    assert found == pytest.approx(expected, rel=1e-12)


@st.composite
def some_mask(draw, height: int, width: int) -> np.ndarray:
    """A mask of one pixel or more."""
    mask = draw(arrays(bool, (height, width)))
    mask[draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))] = True
    return mask


@st.composite
def objects_and_predictions(draw, number: int):
    """True objects (label, crowd, mask) of an image and a sample whose scores have ties."""
    size = draw(SIDES), draw(SIDES)
    masks = some_mask(*size)
    objects = draw(st.lists(st.tuples(st.integers(0, 2), st.booleans(), masks), max_size=4))
    if number == 0:  # the direct evaluation has no rule for a class without an object
        objects += [(label, False, draw(masks)) for label in range(3)]
    found = draw(st.lists(st.tuples(
        st.integers(0, 2), st.sampled_from([0.0, 0.25, 0.5, 1.0]),
        st.one_of(masks, *[st.just(mask) for _, _, mask in objects])), max_size=5))
    sample = DetDataSample(metainfo=dict(
        img_id=number, img_path=f'{number}.jpg', ori_shape=size))
    sample.pred_instances = InstanceData(
        masks=torch.from_numpy(np.array([mask for *_, mask in found], bool).reshape(-1, *size)),
        labels=torch.tensor([label for label, *_ in found], dtype=torch.int64),
        scores=torch.tensor([score for _, score, _ in found]))
    return objects, sample


@pytest.mark.parametrize('metric, boundary', [(InstanceMetric, False), (BoundaryAPMetric, True)])
@cases(25)
@given(data=st.data())
def test_average_precision(metric, boundary, data, tmp_path):
    images = [data.draw(objects_and_predictions(number))
              for number in range(data.draw(st.integers(1, 2)))]
    truth, samples = [objects for objects, _ in images], [sample for _, sample in images]
    path = instances.write_json(tmp_path / 'a.json', truth, samples)
    found = instances.evaluate(metric(path), samples)
    for name, thresholds in (('AP', np.linspace(.5, .95, 10)), ('AP50', [.5])):
        assert found[f'{metric.default_prefix}/{name}'] == pytest.approx(
            instances.direct_ap(truth, samples, boundary, thresholds), abs=1e-9)
