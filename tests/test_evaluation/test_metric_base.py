"""Shared parts of the metrics."""
import pytest

from mmpanseg.evaluation import InstanceMetric, PanopticDataError, PanopticMetric, SemanticMetric
from mmpanseg.evaluation.metric_base import make_table, percent


@pytest.mark.parametrize('metric', [PanopticMetric, InstanceMetric, SemanticMetric])
def test_metainfo_is_required(metric):
    metric = metric()
    with pytest.raises(PanopticDataError, match=f'{type(metric).__name__} has no metainfo of the '
                       'dataset: set its dataset_meta'):
        metric.process({}, [{}])
    metric.dataset_meta = dict(classes=('road', ))
    assert metric.metainfo == dict(classes=('road', ))


def test_tables():
    lines = make_table([['class', 'PQ'], ['road', percent(0.5)], ['x', percent(0.25, False)]])
    assert [line.split('|')[1:3] for line in lines.splitlines() if '|' in line] == [
        [' class ', '   PQ '], [' road  ', ' 50.0 '], [' x     ', '    - ']]
