"""Predictions from Python: a model that is loaded once, and results as objects."""
import copy
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config

from mmpanseg.apis.batches import InOrder, equal_batches
from mmpanseg.apis.config_edits import use_tiles, use_tta
from mmpanseg.apis.fusion_choice import (
    Fusion,
    FusionChoice,
    Threshold,
    check_threshold,
    filter_instances,
)
from mmpanseg.apis.image_sources import SourceImage, SourceReader
from mmpanseg.apis.kept_logits import Logits
from mmpanseg.apis.model_loading import load_segmentor
from mmpanseg.apis.network import Network, explained_memory_errors
from mmpanseg.apis.predictor_errors import FailedInput, PredictorError
from mmpanseg.apis.preparation import PaddedSizes, Preparation, PreparedImage
from mmpanseg.engine.command_line import one_line
from mmpanseg.hub import resolve_model
from mmpanseg.models.fusion_heads import FusionHead
from mmpanseg.models.inference.test_cfg import OutputOptions
from mmpanseg.models.segmentors import MaskTransformer
from mmpanseg.results import Result, result_from_sample
from mmpanseg.utils.device import deliver

__all__ = ['FailedInput', 'Logits', 'Predictor', 'PredictorError', 'load']


def load(model: str | Path | Config, weights: str | Path | None = None, device: str | None = None,
         *, task: str | None = None, tile: Sequence[int] | None = None, overlap: int | None = None,
         tta: bool = False, score_thr: Threshold | None = None, fusion: Fusion | None = None,
         classes: Sequence[str] | None = None, batch_size: int = 1, channel_order: str = 'rgb',
         strict_meta: bool = False, offline: bool = False,
         cfg_options: Mapping[str, Any] | None = None) -> 'Predictor':
    """Load a model to predict images with.

    Args:
        model: path or name of a config, a checkpoint with its config, a folder of transformers, the
            name of a published model, or a config.
        weights: path or URL of the checkpoint (default: that of a published model).
        device: such as 'cpu' or 'cuda:0' (default: a GPU if there is one).
        task: outputs to predict: 'panoptic', 'instance', 'semantic' or 'all' (default: those of
            the config's ``model.test_cfg``).
        tile: (height, width) in pixels of tiles to predict images in, at the size of their files
            (default: images are predicted as the config defines).
        overlap: least number of pixels that neighboring tiles share (default: an eighth of the
            tile's smaller side).
        tta: average the predictions for several views of each image, see
            :func:`mmpanseg.apis.use_tta`.
        score_thr: score threshold of the fusion head, in 0 .. 1, and least score of instances; one
            number, or, for the heads 'mask_wise' and 'kmax', one for things and one for stuff
            (default: that of the config, and all instances).
        fusion: fusion head: 'pixelwise', 'mask_wise', 'heuristic' or 'kmax', or a dict with other
            values for options of the model's head, or with ``type``, the config of another one
            (default: the head of the config).
        classes: names of the classes to keep in results (default: all).
        batch_size: largest number of images in a forward pass.
        channel_order: 'rgb' or 'bgr', of arrays and tensors.
        strict_meta: raise an error if the checkpoint was trained with other classes, normalization,
            channels, padding or test size than the config has (default: warn).
        offline: use cached files only.
        cfg_options: overrides of the config, such as {'model.test_cfg.max_per_image': 50}.

    Returns:
        the predictor.

    Raises:
        UsageError: there is no such model, it has no weights, or an option is impossible; the text
            is one line.
        CheckpointError: the weights are missing, or do not fit the config.
    """
    found = resolve_model(model, weights, offline=offline)
    # copy() of a Config shares its content
    cfg = copy.deepcopy(found.cfg)
    if cfg_options:
        cfg.merge_from_dict(dict(cfg_options))
    if found.weights is None:
        other = f', or load the published {found.published}' if found.published else ''
        raise PredictorError(f'{found.name} is a config without weights: give a checkpoint, '
                             f'weights=FILE (--weights FILE){other}')
    if 'test_dataloader' not in cfg:
        raise PredictorError(f'the config {found.name} has no test_dataloader, whose pipeline '
                             'prepares images: use a config of a model and its data')
    _edit_for_tiles(cfg, tile, overlap, tta)
    if strict_meta:
        cfg.strict_meta = True
    segmentor = load_segmentor(cfg, str(found.weights), device, found.content)
    return Predictor(segmentor, cfg, task=task, tta=tta, score_thr=score_thr, fusion=fusion,
                     classes=classes, batch_size=batch_size, channel_order=channel_order)


def _edit_for_tiles(cfg: Config, tile: Sequence[int] | None, overlap: int | None,
                    tta: bool) -> None:
    """Set the tiles of a config, and check the options."""
    if overlap is not None and tile is None:
        raise PredictorError('overlap is given without tile: give the size of the tiles too')
    if tile is None:
        return
    if tta:
        raise PredictorError('tile and tta exclude each other: views of tiles are not averaged')
    if len(tile) != 2:
        raise PredictorError(f'tile={tuple(tile)} must be height and width in pixels')
    use_tiles(cfg, tile, overlap)


@dataclass(frozen=True)
class _Call:
    """How a call fuses and filters."""
    head: FusionHead
    outputs: OutputOptions
    score_thr: Threshold | None
    classes: list[str] | None


class Predictor:
    """Predicts images with a loaded model; :func:`load` makes one.

    A source is an image: a path or URL (str or Path), an array, a torch tensor, a PIL image, bytes
    or an open file of an encoded image; or several: a folder with its subfolders, a glob pattern, a
    video, a tensor [N, 3, H, W], a list or a generator of any of these. Arrays are uint8
    [H, W, 3], [H, W, 4] or gray [H, W], in the order RGB unless ``channel_order='bgr'``, as OpenCV
    reads them. Tensors are [3, H, W], uint8 or floats in 0 .. 1, in the same order. Files are
    turned upright by their EXIF orientation.

    An image has the same result in every batch as alone: only images of equal padded size share
    one, and results are in the order of the source.

    Args:
        model: the segmentor, in evaluation mode, with ``dataset_meta``.
        cfg: its config, whose test pipeline prepares the images.
        task: see :func:`load`.
        tta: see :func:`load`.
        score_thr: see :func:`load`.
        fusion: see :func:`load`.
        classes: see :func:`load`.
        batch_size: see :func:`load`.
        channel_order: see :func:`load`.

    Attributes:
        cfg: config of the model.
        model: the segmentor.
        classes: class names by label.
        num_things: labels below are things.
        device: where the model is.

    Raises:
        PredictorError: an option is impossible, also one of a call; the text is one line.
    """

    def __init__(self, model: MaskTransformer, cfg: Config, *, task: str | None = None,
                 tta: bool = False, score_thr: Threshold | None = None,
                 fusion: Fusion | None = None, classes: Sequence[str] | None = None,
                 batch_size: int = 1, channel_order: str = 'rgb') -> None:
        self.model, self.cfg = model, cfg
        meta = model.dataset_meta
        self.classes = tuple(map(str, meta['classes']))
        self.num_things = model.num_things_classes
        self.device = next(model.parameters()).device
        palette = meta.get('palette')
        self._palette = None if isinstance(palette, str) else palette
        self._preparation = Preparation(_with_views(cfg) if tta else cfg)
        self._reader = SourceReader(channel_order, self._preparation.color_type)
        self._padded_sizes = PaddedSizes(model)
        self._network = Network(model, self.device)
        self._choice = FusionChoice(model, cfg.model.panoptic_fusion_head)
        self._task, self._fusion, self._score_thr = task, fusion, score_thr
        self._classes, self._batch_size = classes, _checked_batch_size(batch_size)
        # mistakes in the options are errors here, not at the first image
        self._call(None, None, None, None)

    def __call__(self, source: object, *, score_thr: Threshold | None = None,
                 fusion: Fusion | None = None, task: str | None = None,
                 classes: Sequence[str] | None = None,
                 batch_size: int | None = None) -> Result | list[Result]:
        """Predict; options that are not given are those of :func:`load`.

        Args:
            source: one image or several, see the class.
            score_thr: see :func:`load`.
            fusion: see :func:`load`.
            task: see :func:`load`.
            classes: see :func:`load`.
            batch_size: see :func:`load`.

        Returns:
            the result of one image; a list for several.

        Raises:
            FileNotFoundError: no image exists at a path or matches a pattern.
            ImageError: an image cannot be read (a ValueError).
            PredictorError: a source or an option is impossible, or memory is not sufficient.
        """
        call = self._call(score_thr, fusion, task, classes)
        results = list(self._results(source, call, batch_size, False))
        return results[0] if self.is_single(source) else results

    def stream(self, source: object, *, skip_unreadable: bool = False,
               score_thr: Threshold | None = None, fusion: Fusion | None = None,
               task: str | None = None, classes: Sequence[str] | None = None,
               batch_size: int | None = None) -> Generator[Result | FailedInput, None, None]:
        """Predict image by image, for more images than fit into memory.

        Sources are read as results are taken: at most ``8 * batch_size`` images ahead with batches,
        none without.

        Args:
            source: as for a call.
            skip_unreadable: yield a :class:`FailedInput` for an input that cannot be read (default:
                an error).
            score_thr: as for a call.
            fusion: as for a call.
            task: as for a call.
            classes: as for a call.
            batch_size: as for a call.

        Yields:
            results in the order of the source.
        """
        call = self._call(score_thr, fusion, task, classes)
        return self._results(source, call, batch_size, skip_unreadable)

    def _results(self, source: object, call: _Call, batch_size: int | None,
                 skip_unreadable: bool) -> Generator[Any, None, None]:
        """Results of the images of a source, in order."""
        def predict(batch: Sequence[PreparedImage]) -> Iterator[Result]:
            if self.model.tiling is not None:
                for image in batch:
                    found = self._network.fused_tiles(image, call.head, call.outputs)
                    yield self._result(*found, call, time.perf_counter())
                return
            for logits in self._network.logits(batch, keep=False):
                yield self._fused(logits, call)

        return self._run(source, predict, self._size(batch_size), skip_unreadable)

    def logits(self, source: object, *,
               batch_size: int | None = None) -> Logits | list[Logits]:
        """Predict without fusion.

        Args:
            source: as for a call.
            batch_size: as for a call.

        Returns:
            the logits of one image; a list for several. They are on the device of the model;
            ``Logits.cpu`` copies them to the host.
        """
        kept = list(self._run(source, self._network.logits, self._size(batch_size), False))
        return kept[0] if self.is_single(source) else kept

    def fuse(self, logits: Logits, *, score_thr: Threshold | None = None,
             fusion: Fusion | None = None, task: str | None = None,
             classes: Sequence[str] | None = None) -> Result:
        """Compute the result of kept logits, which a call with the same options returns too.

        Args:
            logits: of :meth:`logits`.
            score_thr: as for a call.
            fusion: as for a call.
            task: as for a call.
            classes: as for a call.
        """
        with explained_memory_errors(logits.name, 1, self.device):
            return self._fused(logits, self._call(score_thr, fusion, task, classes))

    def is_single(self, source: object) -> bool:
        """Whether a source is one image, for which a call returns one result and no list."""
        return self._reader.is_single(source)

    def fusion_head(self, *, score_thr: Threshold | None = None,
                    fusion: Fusion | None = None) -> FusionHead:
        """Return the fusion head of a call, with its threshold.

        Args:
            score_thr: as for a call.
            fusion: as for a call.

        Raises:
            PredictorError: the name or an option is unknown, or the head does not fit the model.
        """
        return self._call(score_thr, fusion, None, None).head

    def _call(self, score_thr: Threshold | None, fusion: Fusion | None, task: str | None,
              classes: Sequence[str] | None) -> _Call:
        """Resolve the options of a call."""
        score_thr = self._score_thr if score_thr is None else score_thr
        if score_thr is not None:
            check_threshold(score_thr)
        kept = self._classes if classes is None else classes
        return _Call(
            self._choice.head(self._fusion if fusion is None else fusion, score_thr),
            self._choice.outputs(self._task if task is None else task), score_thr,
            None if kept is None else self._known_classes(kept))

    def _known_classes(self, names: Sequence[str]) -> list[str]:
        names = [names] if isinstance(names, str) else list(names)
        for name in names:
            if name not in self.classes:
                near = get_close_matches(str(name), self.classes, 3)
                hint = f', did you mean {" or ".join(map(repr, near))}?' if near else (
                    f'; it has {", ".join(self.classes[:8])}{", ..." * (len(self.classes) > 8)}')
                raise PredictorError(f'the model has no class {name!r}{hint}')
        return names

    def _size(self, batch_size: int | None) -> int:
        return self._batch_size if batch_size is None else _checked_batch_size(batch_size)

    def _run(self, source: object, predict: Callable[[Sequence[PreparedImage]], Any],
             batch_size: int, skip_unreadable: bool) -> Generator[Any, None, None]:
        """Prepare the images of a source, and yield the output for each in order."""
        size = 1 if self.model.tiling is not None else batch_size
        in_order: InOrder = InOrder()
        images = enumerate(self._prepared(source, skip_unreadable))
        for found in equal_batches(images, size, self._padded_sizes):
            if isinstance(found, tuple):
                yield from in_order.add(*found)
                continue
            batch = [image for _, image in found]
            with explained_memory_errors(batch[0].source.name, len(batch), self.device):
                outputs = list(predict(batch))
            deliver()  # counts of queries that were left out
            numbers = [number for number, _ in found]
            # the last references to images and outputs are those of the caller
            del found, batch
            while outputs:
                yield from in_order.add(numbers.pop(0), outputs.pop(0))

    def _prepared(self, source: object,
                  skip_unreadable: bool) -> Iterator[PreparedImage | FailedInput]:
        """Load and transform the images of a source."""
        for image in self._reader.images(source):
            failed = image if isinstance(image, FailedInput) else None
            if isinstance(image, SourceImage):
                try:
                    with explained_memory_errors(image.name, 1, torch.device('cpu')):
                        prepared = self._preparation(image)
                except (ValueError, OSError) as error:
                    failed = FailedInput(image.name, error)
                else:
                    yield prepared
                    del prepared
                    continue
            assert failed is not None
            if not skip_unreadable:
                raise failed.error
            yield failed

    def _fused(self, logits: Logits, call: _Call) -> Result:
        start = time.perf_counter()
        with torch.no_grad():
            results = logits.fuse(call.head, call.outputs)
        return self._result(logits, results, call, start)

    def _result(self, logits: Logits, results: dict, call: _Call, start: float) -> Result:
        """Convert the results of a fusion head.

        Args:
            logits: of the image.
            results: of the fusion head.
            call: options.
            start: time at which the fusion began, or the conversion if ``logits.speed`` has the
                time of the fusion.
        """
        if 'pred_instances' in results and call.score_thr is not None:
            results['pred_instances'] = filter_instances(results['pred_instances'], call.score_thr)
        sample = DetDataSample(metainfo=logits.metainfo, **results)
        result = result_from_sample(
            sample, self.classes, self.num_things, image=logits.image, path=logits.path,
            speed=logits.speed, palette=self._palette, file_name=logits.file_name)
        if call.classes is not None:
            result = result.filter(classes=call.classes)
        spent = 1000 * (time.perf_counter() - start)
        result.speed = dict(logits.speed, fuse=logits.speed.get('fuse', 0.0) + spent)
        return result


def _with_views(cfg: Config) -> Config:
    """Copy of a config whose test pipeline returns the views of test-time augmentation."""
    cfg = copy.deepcopy(cfg)
    wrapper = cfg.get('tta_model') or {}
    name = str(wrapper.get('type', 'mmpanseg.PanopticTTAModel'))
    if name.rpartition('.')[2] != 'PanopticTTAModel':
        raise PredictorError(f'tta: the tta_model of the config is {name}, a predictor averages '
                             'views as mmpanseg.PanopticTTAModel does: remove it from the config')
    if (cfg.model.get('test_cfg') or {}).get('mode') == 'tile':
        raise PredictorError('tile and tta exclude each other: views of tiles are not averaged')
    try:
        use_tta(cfg)
    except ValueError as error:
        raise PredictorError(f'tta: {one_line(error)}') from error
    return cfg


def _checked_batch_size(batch_size: int) -> int:
    if not isinstance(batch_size, int) or batch_size < 1:
        raise PredictorError(f'batch_size={batch_size!r} must be a number of at least 1')
    return batch_size
