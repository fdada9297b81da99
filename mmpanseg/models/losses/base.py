"""What the criteria share."""
import math
from collections.abc import Sequence

import torch
from torch import Tensor


def read_class_weight(class_weight: Sequence[float] | None, num_classes: int,
                      no_object: float | None = None) -> Tensor:
    """Weights of a criterion's classes.

    Args:
        class_weight: K of them, or K + 1 with that of "no object" as the last; None: all are 1.
        num_classes: K.
        no_object: weight of "no object" where ``class_weight`` has none; None: the classifiers
            have no "no object".

    Returns:
        float32 [K + 1], or [K] where ``no_object`` is None.

    Raises:
        ValueError: another number of weights, or one that is negative or not finite.
        TypeError: it is no list of numbers.
    """
    if class_weight is None:
        class_weight = [1.0] * num_classes
    if not isinstance(class_weight, (list, tuple)) or not all(
            isinstance(weight, (int, float)) for weight in class_weight):
        raise TypeError('criterion.class_weight must be a list of numbers, one for each class, '
                        f'got {class_weight!r}')
    weights = [float(weight) for weight in class_weight]
    allowed = [num_classes] if no_object is None else [num_classes, num_classes + 1]
    if len(weights) not in allowed:
        extra = '' if no_object is None else ', or one more for "no object"'
        raise ValueError(f'criterion.class_weight has {len(weights)} numbers, but the model has '
                         f'{num_classes} classes: it needs one for each{extra}')
    if no_object is not None and len(weights) == num_classes:
        weights.append(no_object)
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights):
        raise ValueError('criterion.class_weight must have no negative or infinite numbers, got '
                         f'{list(class_weight)}')
    return torch.tensor(weights)
