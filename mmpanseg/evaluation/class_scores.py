"""Scores by class of one evaluation, which a hook logs."""
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# beside mmengine's scalars.json, one JSON object for each validation
CLASS_SCORES_FILE = 'class_scores.json'
_COLUMNS = ('pq', 'sq', 'rq')


@dataclass(frozen=True)
class ClassScores:
    """Panoptic quality of each class, C classes.

    Attributes:
        prefix: of the metric, e.g. ``panoptic``.
        classes: C names.
        things: whether each class is a thing.
        pq, sq, rq: percent; NaN for a class that occurs neither in ground truth nor prediction.
        tp, fp, fn: numbers of matched, invented and missed segments.
    """

    prefix: str
    classes: Sequence[str]
    things: Sequence[bool]
    pq: Sequence[float]
    sq: Sequence[float]
    rq: Sequence[float]
    tp: Sequence[int]
    fp: Sequence[int]
    fn: Sequence[int]

    HEAD = ('class', 'kind', 'PQ', 'SQ', 'RQ', 'TP', 'FP', 'FN')

    def rows(self) -> list[list[Any]]:
        """Return one row for each class, columns as in ``HEAD``, None for NaN."""
        return [[name, 'thing' if thing else 'stuff', *map(_number, scores), *counts]
                for name, thing, scores, counts in zip(
                    self.classes, self.things, zip(self.pq, self.sq, self.rq),
                    zip(self.tp, self.fp, self.fn))]

    def record(self, step: int) -> dict[str, Any]:
        """Return the line of :data:`CLASS_SCORES_FILE`.

        Args:
            step: of the training.
        """
        scores = {name: [_number(value) for value in getattr(self, name)] for name in _COLUMNS}
        return dict(step=step, prefix=self.prefix, classes=list(self.classes),
                    things=[bool(thing) for thing in self.things], **scores,
                    tp=list(self.tp), fp=list(self.fp), fn=list(self.fn))


def _number(value: float) -> float | None:
    return round(float(value), 4) if math.isfinite(value) else None
