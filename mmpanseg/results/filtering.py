"""The outputs of a result with a part of their segments."""
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mmpanseg.results.masks import DenseMasks, MapMasks, RunLengthMasks


def filter_outputs(panoptic: tuple[MapMasks, list[dict]] | None,
                   instances: tuple[DenseMasks | RunLengthMasks, list[dict]] | None,
                   semantic: MapMasks | None,
                   keeps: Callable[[int, float | None, int], bool]) -> dict[str, Any]:
    """Keep a part of the segments of each output.

    Args:
        panoptic: masks of the map, and dict(id, label, score) of each segment.
        instances: masks, and dict(label, score, area, box) of each instance.
        semantic: masks of the classes.
        keeps: whether a segment with a label, score and area is kept.

    Returns:
        keywords of :class:`Result` for the outputs that are not None.
    """
    kept: dict[str, Any] = {}
    if panoptic is not None:
        masks, infos = panoptic
        area_of = {key: area for key, area, _ in masks.rows()}
        chosen = [info for info in infos
                  if keeps(info['label'], info['score'], area_of[info['id']])]
        kept['panoptic'] = _keep(masks.ids, [info['id'] for info in chosen], 0), chosen
    if instances is not None:
        source, infos = instances
        numbers = [number for number, info in enumerate(infos)
                   if keeps(info['label'], info['score'], info['area'])]
        kept['instances'] = (
            [infos[k]['label'] for k in numbers], [infos[k]['score'] for k in numbers],
            source.subset(numbers), np.array([infos[k]['box'] for k in numbers]))
    if semantic is not None:
        kept['semantic'] = _keep(semantic.ids, [
            label for label, area, _ in semantic.rows()
            if label >= 0 and keeps(label, None, area)], -1)
    return kept


def _keep(values: np.ndarray, kept: Sequence[int], void: int) -> np.ndarray:
    """Copy of a map in which the values that are not kept are void."""
    return np.where(np.isin(values, kept), values, np.int32(void)).astype(np.int32, copy=False)
