"""Explains the segments of an image: runs the model, follows the chosen queries through it.

H, W: size of the image.
"""
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from mmdet.structures import DetDataSample

from mmpanseg.apis.fusion_choice import Fusion, Threshold
from mmpanseg.apis.predictor import Logits, Predictor
from mmpanseg.engine.command_line import UsageError
from mmpanseg.explain.choice import LARGEST, Choice, choose
from mmpanseg.explain.explanation import Explanation, ListedSegment, SegmentExplanation
from mmpanseg.explain.measures import LayerMeasures, best_classes, find_runner_ups
from mmpanseg.explain.recording import recording
from mmpanseg.explain.traces import Trace
from mmpanseg.models.fusion_heads import FusionHead
from mmpanseg.models.fusion_heads.query_fates import Fate
from mmpanseg.models.inference.augmented_views import View
from mmpanseg.models.inference.test_cfg import OutputOptions
from mmpanseg.results import Result, Segment, result_from_sample


def explain(predictor: Predictor, source: object, segments: Sequence[Choice] = (), *,
            limit: int = LARGEST, runner_ups: int = 5, score_thr: Threshold | None = None,
            fusion: Fusion | None = None) -> Explanation:
    """Explain segments of an image.

    Args:
        predictor: see :func:`mmpanseg.load`.
        source: one image, as for a call of the predictor.
        segments: numbers of the list of segments (from 1), names of classes, or pixels (x, y);
            none: the largest ones.
        limit: largest number of segments without a choice, and of one class.
        runner_ups: largest number of other queries for each segment.
        score_thr: as for a call of the predictor.
        fusion: as for a call of the predictor.

    Returns:
        the explanation; :func:`~mmpanseg.explain.folder.write_explanation` writes it.

    Raises:
        UsageError: there is no such image or segment; the source is several images; the model has
            no panoptic result, or predicts tiles or augmented views.
        ValueError: the head of the model is of no known system, or the image cannot be read.
    """
    model = predictor.model
    if not model.outputs.panoptic_on:
        raise UsageError('the model has no panoptic result (model.test_cfg.panoptic_on=False), '
                         'whose segments could be explained: use a panoptic model')
    if model.tiling is not None:
        raise UsageError('segments of tiles are stitched from several forward passes and cannot be '
                         'explained: predict the whole image (without tile, --tile and '
                         "model.test_cfg.mode='tile')")
    if not predictor.is_single(source):
        if isinstance(source, (str, Path)) and not Path(source).exists():
            raise UsageError(f'{source} does not exist: give the path or URL of an image')
        raise UsageError('one image is explained at a time: give the path of an image, not a '
                         'folder, a pattern, a video or a list')
    with recording(model) as made:
        logits = predictor.logits(source)
        assert isinstance(logits, Logits)  # of one image
        if len(logits.parts) > 1:
            raise UsageError('a mean of augmented views (tta) cannot be explained: predict one '
                             'view, without tta')
        trace = made.trace()
    if logits.metainfo.get('flip'):
        raise UsageError('the test pipeline flips the image, and its maps are not turned back: '
                         'remove the flip from test_pipeline')
    head = predictor.fusion_head(score_thr=score_thr, fusion=fusion)
    return _Explainer(predictor, head, logits, trace).explain(segments, limit, runner_ups)


class _Explainer:
    """Everything about one image.

    Args:
        predictor: of the model.
        head: the fusion head.
        logits: predictions for the image.
        trace: its forward pass.
    """

    def __init__(self, predictor: Predictor, head: FusionHead, logits: Logits,
                 trace: Trace) -> None:
        self._head, self._trace = head, trace
        part = logits.parts[0]
        self._metainfo = part.metainfo
        self._view: View = head.views(
            part.cls_logits, part.mask_logits, [part.metainfo])[0]
        with torch.no_grad():
            fused = logits.fuse(head, OutputOptions(panoptic_on=True))
            fates = head.fates([self._view])
        sample = DetDataSample(metainfo=logits.metainfo, **fused)
        palette = predictor.model.dataset_meta.get('palette')
        self._result: Result = result_from_sample(
            sample, predictor.classes, predictor.num_things, image=logits.image, path=logits.path,
            palette=None if isinstance(palette, str) else palette, file_name=logits.file_name)
        infos = fused['pred_panoptic_seg'].metainfo['segments_info']
        # segments of a result are numbered in their order
        self._rows = {number: int(info['query']) for number, info in enumerate(infos, 1)}
        numbers = {info['id']: number for number, info in enumerate(infos, 1)}
        self._fates: list[Fate] = [
            replace(fate, segment=None if fate.segment is None else numbers[fate.segment])
            for fate in fates]
        self._model_name = (f'{type(predictor.model.panoptic_head).__name__}, '
                            f'{type(head).__name__}')

    @torch.no_grad()
    def explain(self, choices: Sequence[Choice], limit: int, runner_ups: int) -> Explanation:
        """Explain the chosen segments; arguments as of :func:`explain`."""
        chosen = choose(self._result, choices, limit)
        listed = [ListedSegment(segment, self._trace.query(0, self._rows[segment.id]))
                  for segment in self._result.panoptic_segments or ()]
        return Explanation(
            self._result, self._model_name, self._trace.attention_title, listed,
            [self._explain(segment, runner_ups) for segment in chosen])

    def _explain(self, segment: Segment, runner_ups: int) -> SegmentExplanation:
        row = self._rows[segment.id]
        names = self._result.classes
        inside = segment.mask()
        measures = LayerMeasures(self._head, self._metainfo, self._view.masks, row,
                                 self._view.probs.device)
        layers = self._trace.layers(0, row)
        # the row of the result can have the score of one class only, that it was selected for
        scores = next((layer.scores for layer in reversed(layers) if layer.scores is not None),
                      self._view.probs[row])
        return SegmentExplanation(
            segment, row, self._trace.query(0, row), self._fates[row],
            measures.iou_with(inside), measures.area, best_classes(scores, names),
            [measures.view(layer) for layer in layers],
            find_runner_ups(self._view, inside, row, self._fates, names, runner_ups,
                            self._trace))
