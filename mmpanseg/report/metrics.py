"""AP and mIoU beside the panoptic figures, by the metrics of the library."""
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from mmengine.logging import print_log

from mmpanseg.engine.command_line import UsageError, one_line, user_mistakes
from mmpanseg.evaluation import InstanceMetric, SemanticMetric
from mmpanseg.registry import METRICS

Metric = InstanceMetric | SemanticMetric
# what a metric reads of a sample
_OUTPUTS = ((InstanceMetric, 'pred_instances', 'AP'), (SemanticMetric, 'pred_sem_seg', 'mIoU'))


class OtherMetrics:
    """The instance and semantic metrics for predictions that have these outputs.

    Args:
        evaluators: configs of a test; those of other metrics are left out. For an output without a
            metric among them, the panoptic ground truth is scored against.
        meta: metainfo of the data set.

    Attributes:
        notes: why scores are missing.

    Raises:
        UsageError: a metric cannot be built.
    """

    def __init__(self, evaluators: Iterable[dict], meta: dict) -> None:
        configured = [metric for metric in map(_build, evaluators) if metric is not None]
        if not any(isinstance(metric, InstanceMetric) for metric in configured) and (
                meta['thing_classes']):
            configured.append(InstanceMetric(classwise=False))
        if not any(isinstance(metric, SemanticMetric) for metric in configured):
            configured.append(SemanticMetric(source='panoptic', classwise=False))
        self._metrics: dict[Metric, str] = {}
        for metric in configured:
            metric.dataset_meta = meta
            metric.classwise = False
            self._metrics[metric] = next(
                key for kind, key, _ in _OUTPUTS if isinstance(metric, kind))
        self._first = True
        self.notes: list[str] = []

    def add(self, sample: dict) -> None:
        """Add the predictions for an image; the first one decides which outputs there are."""
        for metric, key in list(self._metrics.items()):
            present = key in sample and (key != 'pred_instances' or 'masks' in sample[key])
            if self._first and not present:
                del self._metrics[metric]
                continue
            try:
                metric.process(None, [sample])
            except (ValueError, OSError) as error:
                self._give_up(metric, one_line(error))
        self._first = False

    def finish(self) -> tuple[dict[str, float], dict[int, float], dict[int, float]]:
        """Compute the scores.

        Returns:
            name -> score in percent; label -> AP, label -> IoU, in 0 .. 1.
        """
        scores: dict[str, float] = {}
        ap: dict[int, float] = {}
        iou: dict[int, float] = {}
        for metric in list(self._metrics):
            try:
                found = metric.compute_metrics(metric.results)
            except ValueError as error:
                self._give_up(metric, one_line(error))
                continue
            # COCO's evaluation returns -1 where there is no object
            scores.update({f'{metric.prefix}/{name}': value for name, value in found.items()
                           if value >= 0})
            if isinstance(metric, InstanceMetric) and not ap:
                ap = {label: value for label, value in metric.class_ap.items() if value >= 0}
            elif isinstance(metric, SemanticMetric):
                iou = metric.class_iou
        return scores, ap, iou

    def _give_up(self, metric: Metric, text: str) -> None:
        del self._metrics[metric]
        title = next(title for kind, _, title in _OUTPUTS if isinstance(metric, kind))
        self.notes.append(f'{title} is missing: {text}')
        print_log(self.notes[-1], 'current', logging.WARNING)


def evaluators_of(config: Any) -> Sequence[dict]:
    """List the metrics of a config's ``test_evaluator``."""
    if not config:
        return []
    return config if isinstance(config, (list, tuple)) else [config]


def _build(config: Any) -> Metric | None:
    kind = config.get('type') if isinstance(config, dict) else None
    if isinstance(kind, str):
        kind = METRICS.get(kind)
    if not (isinstance(kind, type) and issubclass(kind, (InstanceMetric, SemanticMetric))):
        return None
    with user_mistakes():
        built = METRICS.build(config)
    if not isinstance(built, (InstanceMetric, SemanticMetric)):
        raise UsageError(f'test_evaluator: {kind} builds another class')
    return built
