"""Checks of the values of a label map. H, W: map size, C: number of classes."""
import numpy as np

from mmpanseg.doctor.pixels.image_problems import ImageProblems, some
from mmpanseg.doctor.pixels.map_runs import MapRuns
from mmpanseg.doctor.pixels.segment_checks import VOID_SHARE, MapStatistics, is_interpolated
from mmpanseg.structures.label_image import label_table

# larger values can only be labels by a label_map
_LARGEST = 0xFFFF


def check_labels(values: np.ndarray, found: ImageProblems) -> MapStatistics:
    """Check the values of a label map.

    Args:
        values: integers [H, W].
        found: receives the problems.
    """
    runs, source = MapRuns(values), found.source
    count = len(source.classes)
    labels = np.array([_label(int(value), found) for value in runs.values])
    wrong = (labels >= count) | (labels < -1)
    if wrong.any() and count:
        pixels = int(runs.areas[wrong].sum())
        found.add_to_map('PAN220', f'{pixels} pixels have the values '
                         f'{some(runs.values[wrong].tolist())}, which are no labels of the '
                         f'{count} classes and not ignore_index={source.ignore_index}')
    blended, share = is_interpolated(runs)
    if blended:
        found.add_to_map('PAN226', f'{share:.0%} of the boundaries between classes have values '
                         'in between')
    void = int(runs.areas[labels == -1].sum()) / values.size
    if void == 1:
        found.add_to_map('PAN223', 'all pixels are ignored')
    elif void > VOID_SHARE:
        found.add_to_map('PAN216', f'{void:.0%} of the pixels are ignored')
    pixels_of: dict[int, int] = {}
    for label, area in zip(labels[~wrong].tolist(), runs.areas[~wrong].tolist()):
        if label >= 0:
            pixels_of[label] = pixels_of.get(label, 0) + area
    return MapStatistics(pixels_of, dict.fromkeys(pixels_of, 1), void, 0., len(pixels_of))


def _label(value: int, found: ImageProblems) -> int:
    """Return the label of a value: -1 = ignored, -2 = none."""
    source = found.source
    if value < 0 or value > _LARGEST and value not in (source.label_map or {}) and (
            value != source.ignore_index):
        return -2
    if value > _LARGEST:
        label = (source.label_map or {}).get(value, source.ignore_index)
        return -1 if label == source.ignore_index else label
    table = label_table(np.array([value]), _LARGEST + 1, '', source.label_map,
                        source.ignore_index, source.reduce_zero_label)
    return int(table[value])
