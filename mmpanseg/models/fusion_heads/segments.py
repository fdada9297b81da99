"""From decided segments to a panoptic map."""
from collections.abc import Sequence

import numpy as np
from mmengine.structures import PixelData
from torch import Tensor

from mmpanseg.structures.result_coding import segment_value
from mmpanseg.utils.device import chunk_rows, to_device, to_host


def segment_table(queries: Tensor, labels: Tensor, scores: Tensor, taken: Tensor,
                  num_things_classes: int) -> tuple[list[int], list[dict]]:
    """Map values of the segments and their info dicts; masks without pixels are left out.

    Args:
        queries, labels, scores, taken: [n], of each one in order; ``taken`` are pixels.
        num_things_classes: labels below are things.

    Returns:
        a value for each, and ``segments_info``; stuff is listed once a class.

    Raises:
        ValueError: a label or the number of things does not fit into mmdet's coding.
    """
    values, segments, stuff, instances = [], [], set(), 0
    # read together: the host waits once
    table = (column.tolist() for column in to_host(queries, labels, taken, scores))
    for query, label, pixels, score in zip(*table):
        is_thing = label < num_things_classes
        instances += is_thing and pixels > 0
        values.append(segment_value(label, is_thing * instances))
        if pixels and label not in stuff:
            segments.append(dict(
                id=values[-1], label=label, isthing=is_thing, score=score, query=query))
            if not is_thing:
                stuff.add(label)
    return values, segments


def paint(owner: Tensor, values: Sequence[int], segments: list[dict]) -> PixelData:
    """The result whose pixels have ``values[owner]``; ``owner``, int32 [H, W], is overwritten."""
    table, = to_device(owner.device, np.array(values, np.int32))
    for rows in owner.split(chunk_rows(owner.device, owner.shape[1])):
        rows.copy_(table[rows.long()])
    result = PixelData(sem_seg=owner[None])
    result.set_metainfo(dict(segments_info=segments))
    return result
