"""Fusion heads, thresholds and outputs that a call of a predictor chooses."""
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from mmpanseg.apis.predictor_errors import PredictorError
from mmpanseg.models.fusion_heads import FusionHead, KMaXFusionHead
from mmpanseg.models.fusion_heads.base import READING
from mmpanseg.models.inference.test_cfg import OutputOptions
from mmpanseg.models.segmentors import MaskTransformer
from mmpanseg.models.segmentors.mask_transformer import check_activations, check_head_classes
from mmpanseg.registry import MODELS

FUSION_HEADS = dict(
    pixelwise='mmpanseg.PixelwiseFusionHead', mask_wise='mmpanseg.MaskWiseFusionHead',
    heuristic='mmpanseg.HeuristicFusionHead', kmax='mmpanseg.KMaXFusionHead')
TASKS = ('panoptic', 'instance', 'semantic', 'all')

# built heads of earlier calls, for calls in turn
_HEADS_KEPT = 32

Threshold = float | Sequence[float]
Fusion = str | Mapping[str, Any]


class FusionChoice:
    """Builds the fusion heads that calls name, each one once; the model stays as it is.

    Args:
        model: the segmentor.
        config: config of its fusion head.
    """

    def __init__(self, model: MaskTransformer, config: Mapping[str, Any]) -> None:
        self._model = model
        self._config = ConfigDict(config).to_dict()
        self._built: dict[str, FusionHead] = {}

    def head(self, fusion: Fusion | None = None, score_thr: Threshold | None = None) -> FusionHead:
        """Return a fusion head.

        Args:
            fusion: one of :data:`FUSION_HEADS`, a config with ``type``, or options that replace
                some of the model's own head (default: that head).
            score_thr: score threshold of the head (default: that of its config).

        Raises:
            PredictorError: the name or an option is unknown, the head does not fit the model, or
                the threshold is not in 0 .. 1.
        """
        head = self._model.panoptic_fusion_head
        if fusion is not None:
            config = self._resolve(fusion)
            key = repr(sorted(config.items(), key=str))
            if key not in self._built:
                while len(self._built) >= _HEADS_KEPT:
                    self._built.pop(next(iter(self._built)))
                self._built[key] = self._build(config, fusion)
            head = self._built[key]
        if score_thr is None:
            return head
        check_threshold(score_thr)
        try:
            return head.with_threshold(score_thr)
        except ValueError as error:
            raise PredictorError(f'score_thr={score_thr!r}: {error}') from error

    def outputs(self, task: str | None = None) -> OutputOptions:
        """Return options with the outputs of a task.

        Args:
            task: one of :data:`TASKS` (default: the outputs of the model's config).

        Raises:
            PredictorError: the task is unknown, or needs things and the model has none.
        """
        own = self._model.outputs
        if task is None:
            return own
        if task not in TASKS:
            raise PredictorError(_unknown('task', task, TASKS))
        if task == 'instance' and not self._model.num_things_classes:
            raise PredictorError("task='instance' needs classes that are things, and this model "
                                 "has none: choose task='semantic' or task='panoptic'")
        every = task == 'all'
        return replace(
            own, panoptic_on=every or task == 'panoptic',
            instance_on=task == 'instance' or every and self._model.num_things_classes > 0,
            semantic_on=every or task == 'semantic')

    def _resolve(self, fusion: Fusion) -> dict:
        """Config of a fusion head from its name or from some of its options."""
        if isinstance(fusion, str):
            if fusion not in FUSION_HEADS:
                raise PredictorError(_unknown('fusion', fusion, FUSION_HEADS))
            config = dict(type=FUSION_HEADS[fusion])
        elif isinstance(fusion, Mapping):
            config = ConfigDict(fusion).to_dict()
        else:
            raise PredictorError(f'fusion={fusion!r} must be one of {", ".join(FUSION_HEADS)}, or '
                                 'a config of a fusion head')
        if config.setdefault('type', self._config['type']) == self._config['type']:
            return {**self._config, **config}
        if _class_of(config) is KMaXFusionHead:
            return config
        # how the outputs of the model are read does not depend on the rule
        return {**{key: self._config[key] for key in READING if key in self._config}, **config}

    def _build(self, config: dict, fusion: Fusion) -> FusionHead:
        model = self._model
        try:
            check_head_classes({}, config)
            head = MODELS.build(config, default_args=dict(
                num_things_classes=model.num_things_classes,
                num_stuff_classes=model.num_stuff_classes))
            check_activations(model.panoptic_head, head)
        except (ValueError, TypeError, KeyError) as error:
            text = ' '.join(str(error.args[0] if error.args else error).split())
            raise PredictorError(f'fusion={fusion!r}: {text}') from error
        return head.to(next(model.parameters()).device).eval()


def check_threshold(score_thr: object) -> None:
    """Raise a PredictorError unless a threshold is a number in 0 .. 1, or two of them."""
    numbers = score_thr if isinstance(score_thr, (list, tuple)) else [score_thr]
    if not 1 <= len(numbers) <= 2 or not all(
            isinstance(number, (int, float)) and 0 <= number <= 1 for number in numbers):
        raise PredictorError(f'score_thr={score_thr!r} must be a number in 0..1, or two: one for '
                             'things and one for stuff')


def filter_instances(found: InstanceData, score_thr: Threshold) -> InstanceData:
    """Remove the instances with a score below the threshold.

    Args:
        found: instances of an image.
        score_thr: one number, or one for things and one for stuff.
    """
    least = score_thr if isinstance(score_thr, (int, float)) else score_thr[0]
    return found[found.scores >= least]


def _class_of(config: Mapping[str, Any]) -> type | None:
    kind = config['type']
    if isinstance(kind, str):
        with MODELS.switch_scope_and_registry(None) as registry:
            kind = registry.get(kind)
    return kind if isinstance(kind, type) else None


def _unknown(option: str, value: object, allowed: Mapping | Sequence[str]) -> str:
    near = get_close_matches(str(value), list(allowed), 1)
    hint = f', did you mean {near[0]!r}?' if near else ';'
    return f'{option}={value!r} is unknown{hint} choose one of {", ".join(allowed)}'
