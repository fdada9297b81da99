"""Panoptic maps from the segments that a fusion rule has accepted."""
from collections.abc import Sequence

import numpy as np
from mmengine.structures import PixelData
from torch import Tensor

from mmpanseg.structures.result_coding import segment_value
from mmpanseg.utils.device import chunk_rows, to_device, to_host


def segment_table(queries: Tensor, labels: Tensor, scores: Tensor, areas: Tensor,
                  num_things_classes: int) -> tuple[list[int], list[dict]]:
    """Compute map values and info dicts of segments.

    Args:
        queries: int64 [n], number of each query, in order.
        labels: int64 [n], class of each.
        scores: [n], score of each.
        areas: int64 [n], pixels of each; those without pixels are not listed.
        num_things_classes: labels below are things.

    Returns:
        one value per query, and ``segments_info``, where stuff is listed once per class.

    Raises:
        ValueError: a label or the number of things cannot be represented in mmdet's coding.
    """
    values: list[int] = []
    segments: list[dict] = []
    stuff, instances = set(), 0
    # one copy for all of them
    table = (column.tolist() for column in to_host(queries, labels, areas, scores))
    for query, label, area, score in zip(*table):
        is_thing = label < num_things_classes
        instances += is_thing and area > 0
        values.append(segment_value(label, is_thing * instances))
        if area and label not in stuff:
            segments.append(dict(
                id=values[-1], label=label, isthing=is_thing, score=score, query=query))
            if not is_thing:
                stuff.add(label)
    return values, segments


def paint(owner: Tensor, values: Sequence[int], segments: list[dict]) -> PixelData:
    """Create the panoptic result ``values[owner]``.

    Args:
        owner: int32 [H, W]; overwritten with the result.
        values: map value of each number in ``owner``.
        segments: ``segments_info`` of the result.

    Returns:
        ``sem_seg`` int32 [1, H, W], with ``segments_info`` in its metainfo.
    """
    table, = to_device(owner.device, np.array(values, np.int32))
    for rows in owner.split(chunk_rows(owner.device, owner.shape[1])):
        rows.copy_(table[rows.long()])
    result = PixelData(sem_seg=owner[None])
    result.set_metainfo(dict(segments_info=segments))
    return result
