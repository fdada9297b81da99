"""Base class of the criteria, and functions that several criteria share.

Shapes: L predictions, B images, N segments of an image, K classes.
"""
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmdet.utils import reduce_mean
from mmengine.model import BaseModule
from torch import Tensor, nn


class PanopticCriterion(BaseModule):
    """Base class of the criteria: class weights, normalizers, names of losses.

    A criterion returns scalar losses by name: ``loss_*`` for the last prediction and
    ``d{i}.loss_*`` for prediction i of those before it.

    Args:
        num_classes: K, at least 1.
        class_weight: weights of the classes in the class loss, K numbers >= 0. A criterion with a
            class "no object" also accepts K + 1 numbers, the last for "no object". None: 1 for
            every class.
        no_object_weight: weight of "no object" where ``class_weight`` does not contain it. None:
            the classifiers have no class "no object" (sigmoid).

    Attributes:
        class_weight: float32 [K + 1], [K] without "no object", or None if neither argument is
            given. It follows from the config and is not part of a checkpoint.

    Raises:
        ValueError: ``class_weight`` has a wrong length, or a negative or infinite number.
        TypeError: ``class_weight`` is not a list of numbers.
    """

    class_weight: Tensor | None

    def __init__(self, num_classes: int, class_weight: Sequence[float] | None = None,
                 no_object_weight: float | None = None) -> None:
        super().__init__()
        self.num_classes = num_classes
        weights = None
        if class_weight is not None or no_object_weight is not None:
            weights = read_class_weight(class_weight, num_classes, no_object_weight)
        self.register_buffer('class_weight', weights, persistent=False)

    @staticmethod
    def mean_over_ranks(counts: Tensor) -> Tensor:
        """Average numbers of segments over all ranks and raise them to at least 1.

        This is a collective call: it must be called equally often on every rank, also for batches
        without segments. Where the mean is at least 1, several processes compute the losses of
        one process with all of their images; below that (fewer segments than ranks) the published
        codes raise the mean to 1, so do we.

        Args:
            counts: float tensor of any shape.

        Returns:
            Normalizers of the same shape.
        """
        return reduce_mean(counts).clamp(min=1)

    @staticmethod
    def name_by_layer(losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """Split losses [L] into scalars: ``name`` for the last, ``d{i}.name`` for the others."""
        named = {}
        for name, values in losses.items():
            *auxiliary, last = values.unbind()
            named[name] = last
            named.update({f'd{i}.{name}': value for i, value in enumerate(auxiliary)})
        return named


def read_class_weight(class_weight: Sequence[float] | None, num_classes: int,
                      no_object_weight: float | None = None) -> Tensor:
    """Check class weights and complete them; see :class:`PanopticCriterion` for the arguments.

    Returns:
        float32 [K + 1], or [K] if ``no_object_weight`` is None.

    Raises:
        ValueError: ``class_weight`` has a wrong length, or a negative or infinite number.
        TypeError: ``class_weight`` is not a list of numbers.
    """
    if class_weight is None:
        class_weight = [1.0] * num_classes
    if not isinstance(class_weight, (list, tuple)) or not all(
            isinstance(weight, (int, float)) for weight in class_weight):
        raise TypeError('criterion.class_weight must be a list of numbers, one for each class, '
                        f'got {class_weight!r}')
    weights = [float(weight) for weight in class_weight]
    allowed = [num_classes] if no_object_weight is None else [num_classes, num_classes + 1]
    if len(weights) not in allowed:
        extra = '' if no_object_weight is None else ', or one more for "no object"'
        raise ValueError(f'criterion.class_weight has {len(weights)} numbers, but the model has '
                         f'{num_classes} classes: it needs one for each{extra}')
    if no_object_weight is not None and len(weights) == num_classes:
        weights.append(no_object_weight)
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights):
        raise ValueError('criterion.class_weight must not contain negative or infinite numbers, '
                         f'got {list(class_weight)}')
    return torch.tensor(weights)


def pad_labels(labels: Sequence[Tensor]) -> Tensor:
    """Stack the labels int64 [N] of all images to [B, N], padded with zeros."""
    return nn.utils.rnn.pad_sequence(list(labels), batch_first=True)


def sigmoid_focal_loss(logits: Tensor, targets: Tensor, alpha: float = 0.25,
                       gamma: float = 2.0) -> Tensor:
    """Compute the focal loss of every element (Lin et al., Focal Loss, Equation 5).

    Shared by MaskFormer's mask loss and Panoptic SegFormer's class losses.

    Args:
        logits: any shape.
        targets: in 0..1, same shape.
        alpha: weight of the positive part; 1 - alpha is that of the negative part.
        gamma: exponent of the modulating factor.

    Returns:
        Losses of the same shape.
    """
    probs = logits.sigmoid()
    loss = F.binary_cross_entropy_with_logits(logits, targets, reduction='none')
    # 1 - p for a positive, p for a negative element
    error = probs + targets - 2 * probs * targets
    alphas = alpha * targets + (1 - alpha) * (1 - targets)
    return alphas * error**gamma * loss
