"""mmdet's coding of panoptic results: label + 1000 x instance number, void = number of classes."""
import numpy as np
from mmdet.evaluation.functional import INSTANCE_OFFSET

# the number behind the last label is void
MAX_CLASSES = INSTANCE_OFFSET - 1
_MAX_VALUE = np.iinfo(np.int32).max


def check_class_count(num_classes: int, where: str) -> None:
    """Refuse more classes than a panoptic result can tell apart.

    Args:
        num_classes: things and stuff.
        where: whose classes they are, e.g. ``'the model'``.

    Raises:
        ValueError: there are too many.
    """
    if num_classes > MAX_CLASSES:
        raise ValueError(
            f'{where} has {num_classes} classes, but panoptic results, label + {INSTANCE_OFFSET} '
            f'x instance number, have room for {MAX_CLASSES} only: ask for instances or semantic '
            'maps alone, model.test_cfg=dict(panoptic_on=False, instance_on=True) or '
            'semantic_on=True')


def segment_value(label: int, number: int = 0) -> int:
    """Value of a segment in a panoptic result, int32: label + 1000 x number.

    Args:
        label: 0 .. 998.
        number: counts the things of an image from 1; 0 for stuff.

    Raises:
        ValueError: label or number does not fit, so that the value would be another segment's.
    """
    value = label + number * INSTANCE_OFFSET
    if not 0 <= label < MAX_CLASSES or not 0 <= value <= _MAX_VALUE:
        raise ValueError(
            f'label {label} with instance number {number} cannot be coded as label + '
            f'{INSTANCE_OFFSET} x number: labels must lie in 0 .. {MAX_CLASSES - 1}, values '
            f'below {_MAX_VALUE + 1}')
    return value


def split_values(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels and instance numbers (0 for stuff) of values of a panoptic result, integers [...]."""
    return values % INSTANCE_OFFSET, values // INSTANCE_OFFSET
