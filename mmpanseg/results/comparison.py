"""Pictures of a result beside its ground truth."""
from typing import TYPE_CHECKING, Any

import numpy as np

from mmpanseg.evaluation.panoptic_quality import Matching, PanopticMap
from mmpanseg.evaluation.segment_errors import map_errors
from mmpanseg.results.flat_map import flatten
from mmpanseg.results.pictures import draw
from mmpanseg.structures.map_segments import find_segments
from mmpanseg.visualization.error_map import draw_comparison
from mmpanseg.visualization.markings import Marks
from mmpanseg.visualization.palettes import COLORBLIND, find_palette
from mmpanseg.visualization.panoptic import DrawnSegment, draw_panoptic, segment_colors
from mmpanseg.visualization.styles import TRANSPARENT

if TYPE_CHECKING:
    from mmpanseg.results.result import Result


def compare(result: 'Result', truth: 'PanopticMap | Result', min_score: float = 0.0,
            **options: Any) -> np.ndarray:
    """Draw image, result, ground truth and error map side by side, see :meth:`Result.compare`."""
    if options.get('style') == TRANSPARENT:
        raise ValueError('style: transparent pictures do not stand side by side; choose another '
                         'one')
    if options.get('colors'):
        raise ValueError('colors: pictures beside a ground truth have the colors of its segments')
    image, name = result._picture.need(), result.file_name or result.path or 'image'
    gt = truth if isinstance(truth, PanopticMap) else _segments(truth, 'the ground truth')
    pred = _segments(result, 'the result')
    errors, matching = map_errors(gt, pred, len(result.classes), name)

    palette = options.pop('palette', None)
    drawn = [DrawnSegment(number, label, label < result.num_things, is_crowd=crowd)
             for number, label, crowd in zip(
                 gt.ids.tolist(), gt.labels.tolist(), gt.crowd.tolist())]
    known = find_palette(palette, result.classes, len(result.classes), result.palette)
    keep_hue = isinstance(palette, str) and palette == COLORBLIND
    colors = segment_colors(gt.map, drawn, known, keep_hue)
    min_side = options.pop('min_side', 800)
    predicted = draw(result, min_score, colors=_partners(gt, pred, matching, colors),
                     palette=palette, min_side=min_side, **options)
    options.pop('with_scores', None)
    true = draw_panoptic(image, gt.map, drawn, result.classes, known, colors=colors,
                         min_side=min_side, marks=Marks(void=True), **options)
    return draw_comparison(image, predicted, true, errors, gt.map, min_side)


def _segments(result: 'Result', name: str) -> PanopticMap:
    """Segments of a result of any kind."""
    ids, segments = flatten(result)
    return PanopticMap(ids, [segment.id for segment in segments],
                       [segment.label for segment in segments], name=name)


def _partners(gt: PanopticMap, pred: PanopticMap, matching: Matching,
              colors: dict[int, tuple[int, int, int]]) -> dict[int, tuple[int, int, int]]:
    """Colors of the matched predicted segments."""
    return {int(pred.ids[there]): colors[int(gt.ids[here])]
            for here, there in zip(matching.gt, matching.pred)}


def void_unlisted(ids: np.ndarray, listed: set[int]) -> np.ndarray:
    """Make the pixels of segments that are not listed void.

    Args:
        ids: integers [H, W], 0 = void.
        listed: ids to keep.

    Returns:
        ``ids``, or a copy.
    """
    others = [value for value in find_segments(ids).ids.tolist() if value and value not in listed]
    return np.where(np.isin(ids, others), 0, ids) if others else ids
