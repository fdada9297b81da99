"""mmdet's encoding of panoptic results: label + 1000 x instance number.

The value of void is the number of classes.
"""
import numpy as np
from mmdet.evaluation.functional import INSTANCE_OFFSET

# the value after the last label is void
MAX_CLASSES = INSTANCE_OFFSET - 1
_MAX_VALUE = np.iinfo(np.int32).max


def check_class_count(num_classes: int, where: str) -> None:
    """Check that a panoptic result can encode all classes.

    Args:
        num_classes: number of thing and stuff classes.
        where: owner of the classes in the error text, e.g. ``'the model'``.

    Raises:
        ValueError: there are more than 999 classes.
    """
    if num_classes > MAX_CLASSES:
        raise ValueError(
            f'{where} has {num_classes} classes, but panoptic results, label + {INSTANCE_OFFSET} '
            f'x instance number, encode at most {MAX_CLASSES}: predict instances or semantic maps '
            'only, with model.test_cfg=dict(panoptic_on=False, instance_on=True) or '
            'semantic_on=True')


def segment_value(label: int, number: int = 0) -> int:
    """Encode a segment as its value in a panoptic result, label + 1000 x number.

    Args:
        label: 0 .. 998.
        number: instance number, from 1 for the things of an image; 0 for stuff.

    Raises:
        ValueError: label or number is out of range, or the value exceeds int32.
    """
    value = label + number * INSTANCE_OFFSET
    if not 0 <= label < MAX_CLASSES or not 0 <= value <= _MAX_VALUE:
        raise ValueError(
            f'label {label} with instance number {number} cannot be encoded as label + '
            f'{INSTANCE_OFFSET} x number: labels must be in 0 .. {MAX_CLASSES - 1}, values '
            f'below {_MAX_VALUE + 1}')
    return value


def split_values(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Decode values of a panoptic result.

    Args:
        values: integer [...].

    Returns:
        labels and instance numbers (0 for stuff), each integer [...].
    """
    return values % INSTANCE_OFFSET, values // INSTANCE_OFFSET
