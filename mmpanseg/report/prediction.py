"""A prediction for one image, whatever it was read from."""
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mmpanseg.evaluation.panoptic_metric import predicted_segments
from mmpanseg.evaluation.panoptic_quality import PanopticDataError, PanopticMap, index_map
from mmpanseg.structures.map_segments import find_segments

# for the positions of missed segments: (reason, sentence, number of the query)
Explain = Callable[[PanopticMap, Sequence[int]], Mapping[int, tuple[str, str, int | None]]]


@dataclass
class Prediction:
    """Panoptic prediction for one image.

    Attributes:
        segments: the map with ids 1, 2, ..., sorted by label, then from top to bottom, so that the
            order does not depend on where the prediction was read from.
        scores: of each segment, in 0 .. 1; None where unknown.
        queries: number of the query of each segment; None where unknown.
        outputs: ``pred_instances`` and ``pred_sem_seg``, as far as they are predicted, in the form
            that the metrics read.
        explain: tells why segments are missed; None where the queries are unknown.
    """

    segments: PanopticMap
    scores: list[float | None]
    queries: list[int | None]
    outputs: dict[str, Any] = field(default_factory=dict)
    explain: Explain | None = None


def in_order(segments: PanopticMap, scores: Mapping[int, float | None],
             queries: Mapping[int, int | None], **further: Any) -> Prediction:
    """Number the segments of a prediction by label and place.

    Args:
        segments: in any order.
        scores: id -> score.
        queries: id -> query.
        further: other attributes of :class:`Prediction`.

    Raises:
        PanopticDataError: map and list of segments differ.
    """
    index = index_map(segments, 'the image')
    found = find_segments(index)
    # 1 + position of a segment -> where it is
    places = {number: (box[1], box[0], box[3], box[2], area) for number, box, area in zip(
        found.ids.tolist(), found.boxes.tolist(), found.areas.tolist())}
    ids, labels = segments.ids.tolist(), segments.labels.tolist()
    empty = [number for at, number in enumerate(ids, 1) if at not in places]
    if empty:
        raise PanopticDataError(f'segment(s) {empty[:10]} of {segments.name} are listed but have '
                                'no pixel in the map; remove them from the list')
    order = sorted(range(len(ids)), key=lambda at: (labels[at], places[at + 1]))
    table = np.zeros(len(ids) + 1, np.int32)
    table[np.array(order, np.int64) + 1] = np.arange(1, len(ids) + 1)
    renumbered = PanopticMap(table[index], np.arange(1, len(ids) + 1), segments.labels[order],
                             void=0, name=segments.name)
    return Prediction(renumbered, [scores.get(ids[at]) for at in order],
                      [queries.get(ids[at]) for at in order], **further)


def prediction_of_sample(sample: dict, num_classes: int, **further: Any) -> Prediction:
    """Convert what a model returns.

    Args:
        sample: with ``pred_panoptic_seg``, as metrics receive it.
        num_classes: C.
        further: other attributes of :class:`Prediction`.

    Raises:
        PanopticDataError: the model predicts no panoptic map, or one of other classes.
    """
    segments = predicted_segments(sample, num_classes)
    infos = {int(info['id']): info
             for info in sample['pred_panoptic_seg'].get('segments_info') or ()}
    scores = {number: _score(info.get('score')) for number, info in infos.items()}
    queries = {number: None if info.get('query') is None else int(info['query'])
               for number, info in infos.items()}
    outputs = {key: sample[key] for key in ('pred_instances', 'pred_sem_seg') if key in sample}
    return in_order(segments, scores, queries, outputs=outputs, **further)


def _score(value: Any) -> float | None:
    return None if value is None else float(value)
