"""Three processes that share seven images evenly and unevenly: the scores of one process."""
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.dataset import DefaultSampler
from mmengine.evaluator import Evaluator

from mmpanseg.evaluation import (
    BoundaryAPMetric,
    InstanceMetric,
    PanopticMetric,
    QueryConsistencyMetric,
    SemanticMetric,
)

from ..processes import run_ranks
from . import test_instance_metric, test_panoptic_metric, test_semantic_metric

IMAGES, PROCESSES = 7, 3


def folder_in(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


def traces(folder: Path) -> list[dict]:
    """Queries of three predictions; the third image has no segments."""
    generator = torch.Generator().manual_seed(0)
    return [dict(query_trace=dict(
        masks=torch.rand(3, 5, 6, 8, generator=generator) < 0.4,
        assignments=torch.randint(-1, 3, (3, 5), generator=generator),
        num_segments=0 if image == 2 else 3)) for image in range(IMAGES)]


def panoptic(folder: Path) -> list:
    return test_panoptic_metric.random_samples(folder_in(folder, 'panoptic'), IMAGES)


# metric, and what makes the outputs of all images
CASES: dict[str, tuple[Callable, Callable, dict]] = {
    'PQ': (lambda: PanopticMetric(boundary_width=0.02, by_size=True), panoptic,
           test_panoptic_metric.META),
    'AP': (InstanceMetric, lambda folder: test_instance_metric.panoptic_data(
        folder_in(folder, 'instance'), IMAGES)[1], test_instance_metric.META),
    'boundary AP': (BoundaryAPMetric, lambda folder: test_instance_metric.panoptic_data(
        folder_in(folder, 'boundary'), IMAGES)[1], test_instance_metric.META),
    'mIoU': (SemanticMetric, lambda folder: test_semantic_metric.random_samples(
        folder_in(folder, 'semantic'), IMAGES)[0], test_semantic_metric.META),
    'queries': (lambda: QueryConsistencyMetric(prefix='queries'), traces, {})}


def evaluate(name: str, folder: Path, indices: list[int]) -> dict[str, float]:
    metric, outputs, meta = CASES[name]
    samples = outputs(folder)
    evaluator = Evaluator(metric())
    evaluator.dataset_meta = meta
    for index in indices:
        evaluator.process(data_samples=[samples[index]])
    return evaluator.evaluate(IMAGES)


def share(rank: int, folder: Path) -> dict[tuple[str, bool], dict[str, float]]:
    """Scores of all metrics, with images twice at the end or with shares of different sizes."""
    scores = {}
    for padded in (True, False):
        indices = list(DefaultSampler(range(IMAGES), shuffle=False, round_up=padded))
        assert len(indices) == (3 if padded or rank == 0 else 2)
        for name in CASES:
            own = folder_in(folder, f'{name}-{padded}-{rank}')
            scores[name, padded] = evaluate(name, own, indices)
    return scores


@pytest.fixture(scope='module')
def ranks(tmp_path_factory) -> list[dict]:
    folder = tmp_path_factory.mktemp('ranks')
    return run_ranks(share, PROCESSES, folder, folder, timeout=300)


@pytest.mark.parametrize('name', CASES)
@pytest.mark.parametrize('padded', [True, False])
def test_scores_are_those_of_one_process(ranks, name, padded, tmp_path):
    expected = evaluate(name, tmp_path, list(range(IMAGES)))
    assert expected and any(value > 0 for value in expected.values())
    for scores in ranks:
        assert scores[name, padded] == pytest.approx(expected, rel=1e-12, nan_ok=True)
