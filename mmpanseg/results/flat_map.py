"""One map of any kind of result."""
from typing import TYPE_CHECKING

import numpy as np

from mmpanseg.results.segment import Segment
from mmpanseg.structures.map_segments import find_segments

if TYPE_CHECKING:
    from mmpanseg.results.result import Result


def flatten(result: 'Result', min_score: float | None = None) -> tuple[np.ndarray, list[Segment]]:
    """Represent a result as one map.

    Args:
        result: with any outputs.
        min_score: instances with a lower score are left out (default: none are).

    Returns:
        int32 [H, W] of ids, 0 = void; and the segments that have a pixel. Of overlapping instances
        the one with the higher score is on top; they are sorted by rising score.
    """
    if result.panoptic_segments is not None and result.panoptic_map is not None:
        return result.panoptic_map, result.panoptic_segments
    if result.instances is not None:
        ids, painted = np.zeros(result.size, np.int32), []
        for segment in sorted(result.instances, key=_score):
            if min_score is None or _score(segment) >= min_score:
                ids[segment.mask()] = segment.id
                painted.append(segment)
        visible = set(find_segments(ids).ids.tolist())
        return ids, [segment for segment in painted if segment.id in visible]
    if result.semantic_segments is not None and result.semantic_map is not None:
        return result.semantic_map + np.int32(1), result.semantic_segments
    return np.zeros(result.size, np.int32), []


def _score(segment: Segment) -> float:
    return 1.0 if segment.score is None else segment.score
