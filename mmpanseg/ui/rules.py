"""The options of fusion heads that have a slider or a switch."""
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmpanseg.apis.fusion_choice import FUSION_HEADS
from mmpanseg.apis.predictor import Predictor, PredictorError
from mmpanseg.models.fusion_heads import FusionHead
from mmpanseg.registry import MODELS

Value = float | bool


@dataclass(frozen=True)
class Knob:
    """An option of a fusion head with its control.

    Attributes:
        option: name of the option.
        title: of its control.
        info: what it does, in a few words.
        high: largest value; a switch has none.
        step: of a slider.
        low: smallest value.
        part: 0 for the value of things and 1 for that of stuff, of an option with both.
    """
    option: str
    title: str
    info: str
    high: float | None = 1.0
    step: float = 0.01
    low: float = 0.0
    part: int | None = None

    def value(self, head: FusionHead) -> Value:
        """Value of the option in a fusion head, inside the range of the control.

        Args:
            head: of the class that has the option.
        """
        if self.option == 'mask_thr':
            return round(math.exp(head.mask_activation.threshold), 6)
        value = getattr(head, self.option)
        if self.part is not None:
            value = value[self.part]
        return self.converted(bool(value) if self.high is None
                              else min(max(value, self.low), self.high))

    def converted(self, value: Value) -> Value:
        """Convert a value to the type of the option: bool, a whole number, or any number.

        Args:
            value: inside the range.
        """
        if self.high is None:
            return bool(value)
        return int(value) if self.step >= 1 else float(value)


def _pair(option: str, title: str, info: str, high: float = 1.0,
          step: float = 0.01) -> tuple[Knob, Knob]:
    return (Knob(option, f'{title}, things', info, high, step, part=0),
            Knob(option, f'{title}, stuff', info, high, step, part=1))


KNOBS: dict[str, tuple[Knob, ...]] = dict(
    pixelwise=(
        Knob('object_mask_thr', 'Score', 'least class score of a segment'),
        Knob('iou_thr', 'Overlap', 'least share of its own mask that a segment wins'),
        Knob('weighted', 'Weigh masks by scores', 'in the competition for pixels', None),
        Knob('filter_low_score', 'Drop uncertain pixels', 'where the winner\'s mask is below 0.5',
             None)),
    mask_wise=(
        *_pair('t_cnf', 'Confidence', 'least confidence of a segment'),
        *_pair('t_keep', 'Overlap', 'least share of its mask that is free'),
        Knob('alpha', 'Power of the class score', 'in the confidence', 4, 0.05),
        Knob('beta', 'Power of the mask quality', 'in the confidence', 4, 0.05)),
    heuristic=(
        Knob('score_thr', 'Score', 'least class score of a thing'),
        Knob('mask_overlap', 'Overlap', 'largest share of a thing that others may cover'),
        Knob('stuff_area_limit', 'Area of stuff', 'least number of pixels', 20000, 16)),
    kmax=(
        *_pair('score_thr', 'Score', 'least class score of a segment'),
        Knob('overlap_thr', 'Overlap', 'least share of its mask that is free'),
        Knob('mask_thr', 'Mask', 'least probability of a pixel', 0.95, low=0.05),
        Knob('class_power', 'Power of the class score', 'in the confidence', 4, 0.05),
        Knob('mask_power', 'Power of the mask quality', 'in the confidence', 4, 0.05),
        *_pair('area_limit', 'Area', 'least number of pixels', 20000, 16)))

TITLES = dict(pixelwise='Pixel-wise (Mask2Former)', mask_wise='Mask-wise (Panoptic SegFormer)',
              heuristic='Heuristic (things first)', kmax='kMaX-DeepLab')
# a fusion head of another class, which has no controls
OWN = 'own'


def rule_of(head: FusionHead) -> str:
    """Name of the rule of a fusion head; :data:`OWN` for one that has no controls.

    Args:
        head: any fusion head.
    """
    return next((name for name, kind in FUSION_HEADS.items()
                 if type(head) is MODELS.get(kind)), OWN)


def fitting_rules(predictor: Predictor) -> list[str]:
    """Names of the rules that a model can use, its own one first.

    Args:
        predictor: the model.
    """
    own = rule_of(predictor.fusion_head())
    others = [name for name in FUSION_HEADS if name != own and _fits(predictor, name)]
    return [own, *others]


def _fits(predictor: Predictor, name: str) -> bool:
    try:
        predictor.fusion_head(fusion=name)
    except PredictorError:
        return False
    return True


def default_values(predictor: Predictor, rule: str) -> list[Value]:
    """Values of the knobs of a rule in a model's config, or those of the rule's own defaults.

    Args:
        predictor: the model.
        rule: one of :func:`fitting_rules`.
    """
    if rule == OWN:
        return []
    own = rule_of(predictor.fusion_head()) == rule
    head = predictor.fusion_head(fusion=None if own else rule)
    return [knob.value(head) for knob in KNOBS[rule]]


def fusion_config(rule: str, values: Sequence[Value]) -> dict[str, Any] | None:
    """Config of a fusion head with the values of the controls; None for the model's own one.

    Args:
        rule: one of :func:`fitting_rules`.
        values: of the knobs of the rule, in their order.

    Raises:
        ValueError: a value is outside the range of its control.
    """
    if rule == OWN:
        return None
    config: dict[str, Any] = dict(type=FUSION_HEADS[rule])
    for knob, value in zip(KNOBS[rule], values, strict=True):
        checked = _checked(knob, value)
        if knob.part is None:
            config[knob.option] = checked
        else:
            config[knob.option] = (*config.get(knob.option, ()), checked)
    return config


def _checked(knob: Knob, value: object) -> Value:
    if knob.high is None:
        if isinstance(value, bool):
            return value
    elif isinstance(value, (int, float)) and knob.low <= value <= knob.high:
        return knob.converted(value)
    raise ValueError(f'{knob.title} is {value!r}, outside of its range')

