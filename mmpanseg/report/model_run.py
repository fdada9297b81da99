"""Predictions of a model for the test data, with the fates of its queries."""
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from torch.utils.data import DataLoader, Dataset, Subset

from mmpanseg.analysis.lost_segments import find_lost
from mmpanseg.analysis.trained_model import build_trained
from mmpanseg.apis.config_edits import use_tta
from mmpanseg.engine.command_line import UsageError, one_line, user_mistakes
from mmpanseg.evaluation.panoptic_quality import PanopticMap
from mmpanseg.models.fusion_heads import FusionHead
from mmpanseg.models.inference.augmented_views import View
from mmpanseg.models.segmentors import MaskTransformer
from mmpanseg.registry import MODELS
from mmpanseg.report.prediction import Explain, prediction_of_sample
from mmpanseg.report.source import Answer, Failure
from mmpanseg.report.truth import Truth

NO_FATES = {
    'tta': 'Why queries were lost is unknown: with test-time augmentation several views are fused.',
    'tiles': 'Why queries were lost is unknown: the image is predicted in tiles.',
    'other': 'Why queries were lost is unknown: the model is no mmpanseg.MaskTransformer.'}


@dataclass(frozen=True)
class ModelOptions:
    """How a model is loaded and run.

    Args:
        checkpoint: file or URL.
        tta: test-time augmentation.
        strict_meta: refuse a checkpoint of other settings.
        device: by default a GPU if there is one.
    """

    checkpoint: str
    tta: bool = False
    strict_meta: bool = False
    device: str | None = None


class ModelRun:
    """Runs a model over images of a data set as ``mmpanseg test`` does.

    Args:
        cfg: config of a whole run; changed in place.
        options: see :class:`ModelOptions`.

    Attributes:
        notes: see :class:`mmpanseg.report.source.Source`.
        knows_queries: see :class:`mmpanseg.report.source.Source`.

    Raises:
        UsageError: the model cannot be built or loaded, or predicts no panoptic map.
    """

    def __init__(self, cfg: Config, options: ModelOptions) -> None:
        self.cfg = cfg
        wrapper: dict | None = None
        if options.tta:
            try:
                use_tta(cfg)
            except ValueError as error:
                raise UsageError(one_line(error)) from error
            wrapper = cfg.model
            cfg.model = cfg.model.module
        inner = build_trained(cfg, options.checkpoint, options.strict_meta, options.device)
        self.model: Any = inner
        if wrapper is not None:
            with user_mistakes():
                self.model = MODELS.build(dict(wrapper, module=inner))
        outputs = getattr(inner, 'outputs', None)
        if outputs is not None and not outputs.panoptic_on:
            raise UsageError('the model predicts no panoptic map (model.test_cfg.panoptic_on is '
                             'False), which a report is about: set it to True with --cfg-options '
                             'model.test_cfg.panoptic_on=True')
        self.notes: list[str] = []
        self.knows_queries = False
        if options.tta:
            self.notes.append(NO_FATES['tta'])
        elif not isinstance(self.model, MaskTransformer):
            self.notes.append(NO_FATES['other'])
        elif self.model.tiling is not None:
            self.notes.append(NO_FATES['tiles'])
        else:
            self.knows_queries = True

    def use_classes(self, truth: Truth) -> None:
        """Take the classes of the data set, as a test does.

        Raises:
            UsageError: the model has another number of classes.
        """
        inner = getattr(self.model, 'module', self.model)
        count = getattr(inner, 'num_classes', len(truth.classes))
        if count != len(truth.classes):
            raise UsageError(f'the model has {count} classes, but {truth.name} has '
                             f'{len(truth.classes)}: use the config that it was trained with')
        self.model.dataset_meta = truth.meta

    def answers(self, dataset: Any, numbers: Sequence[int]) -> Iterator[Answer]:
        """Predict images.

        Args:
            dataset: test data set of the config.
            numbers: of the images in it.

        Yields:
            number, and the prediction or why there is none.
        """
        loader = self.cfg.test_dataloader
        batches = DataLoader(Subset(_Guarded(dataset), list(numbers)),
                             batch_size=loader.get('batch_size', 1),
                             num_workers=loader.get('num_workers', 0), collate_fn=list)
        todo = iter(numbers)
        for batch in batches:
            places = list(itertools.islice(todo, len(batch)))
            loaded = [sample for sample in batch if not isinstance(sample, Failure)]
            predicted = iter(self._predict(pseudo_collate(loaded)) if loaded else ())
            for number, sample in zip(places, batch):
                yield number, sample if isinstance(sample, Failure) else next(predicted)

    @torch.no_grad()
    def _predict(self, data: dict) -> list:
        """Predict a batch; a prediction that cannot be converted becomes a failure."""
        if not self.knows_queries:
            samples = self.model.test_step(data)
            return [self._convert(sample, None) for sample in samples]
        batch = self.model.data_preprocessor(data, False)
        head, samples = self.model.panoptic_fusion_head, batch['data_samples']
        views = head.views(*self.model.predict_queries(
            batch['inputs'], metainfos := [sample.metainfo for sample in samples]), metainfos)
        results = [head.fuse([view], self.model.outputs) for view in views]
        self.model.add_pred_to_datasample(samples, results)
        return [self._convert(sample, view) for sample, view in zip(samples, views)]

    def _convert(self, sample: DetDataSample, view: View | None) -> Any:
        content = sample.to_dict()
        if 'pred_panoptic_seg' not in content:
            raise UsageError('the model predicts no panoptic map, which a report is about: give a '
                             'model with a panoptic fusion head')
        classes = self.model.dataset_meta['classes']
        try:
            found = prediction_of_sample(
                content, len(classes),
                explain=None if view is None else _explainer(
                    self.model.panoptic_fusion_head, view, classes))
        except ValueError as error:
            return Failure(one_line(error))
        return found, content


def _explainer(head: FusionHead, view: View, classes: Sequence[str]) -> Explain:
    """Make the function that tells why segments are missed."""
    @torch.no_grad()
    def explain(gt: PanopticMap, positions: Sequence[int]
                ) -> Mapping[int, tuple[str, str, int | None]]:
        if not positions:
            return {}
        found = find_lost(head, [view], gt, positions, classes)
        return {lost.position: (lost.reason, lost.text, lost.query) for lost in found}
    return explain


class _Guarded(Dataset):
    """A data set whose images that cannot be read are failures."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, number: int) -> Any:
        try:
            return self.dataset[number]
        except Exception as error:  # loaders raise errors of many types
            return Failure(one_line(error))
