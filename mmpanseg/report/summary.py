"""The summary of a report from its sums."""
from importlib.metadata import version

import numpy as np

from mmpanseg.evaluation.panoptic_metric import average_scores, class_groups
from mmpanseg.evaluation.panoptic_quality import PQStat
from mmpanseg.report.metrics import OtherMetrics
from mmpanseg.report.records import ClassRecord, Summary
from mmpanseg.report.statistics import Totals
from mmpanseg.report.truth import ReportClasses

_PREFIX = 'panoptic'
_GROUPS = {'': 'all', '_th': 'things', '_st': 'stuff'}


def summarize(summary: Summary, totals: Totals, classes: ReportClasses, metrics: OtherMetrics,
              knows_queries: bool) -> None:
    """Fill the figures of a summary in.

    Args:
        summary: changed in place.
        totals: sums over images, at least one.
        classes: of the report.
        metrics: other scores, complete.
        knows_queries: whether reasons of missed segments are known.
    """
    is_thing = np.array(classes.is_thing, bool)
    stats = totals.stats or {'all': PQStat(len(classes))}
    summary.num_scored, summary.num_failed = totals.num_scored, totals.num_failed
    summary.quality = {
        variant: {_GROUPS[suffix]: stat.average(group)
                  for suffix, group in class_groups(is_thing).items()}
        for variant, stat in stats.items()}
    others, ap, iou = metrics.finish()
    summary.metrics = {**{f'{_PREFIX}/{name}': value
                          for name, value in average_scores(stats, is_thing).items()}, **others}
    summary.confusion = totals.confusion.as_dict(classes.names)
    summary.calibration = totals.calibration.as_dict()
    summary.has_scores = summary.calibration is not None
    summary.recall_by_area = totals.sizes.as_list()
    summary.kinds = totals.kinds_of()
    summary.reasons = dict(totals.reasons) if knows_queries else None
    summary.pixels = dict(totals.pixels)
    summary.classes = [
        ClassRecord(
            name, classes.is_thing[label], classes.palette[label],
            classes.category_ids.get(label), _quality(stats, label),
            kinds := totals.kinds_of([label]),
            sum(number for kind, number in kinds['gt'].items() if kind != 'ignored'),
            ap.get(label), iou.get(label))
        for label, name in enumerate(classes.names)]
    summary.versions = {name: version(name) for name in ('mmpanseg', 'torch', 'numpy')}


def _quality(stats: dict[str, PQStat], label: int) -> dict[str, dict[str, float]]:
    """Return the figures of one class by variant."""
    found = {}
    for variant, stat in stats.items():
        pq, sq, rq, occurs = (values[label].item() for values in stat.per_class())
        if occurs:
            iou, tp, fp, fn = stat.sums[label].tolist()
            found[variant] = dict(pq=pq, sq=sq, rq=rq, tp=int(tp), fp=int(fp), fn=int(fn), iou=iou)
    return found
