"""Predictions in files: COCO's panoptic format, ``predictions.jsonl``, pickles of a test."""
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmpanseg.apis.prediction_files import IMAGES, INSTANCES, PANOPTIC, SEMANTIC
from mmpanseg.checkpoints.loading_policy import read_trusted_or_safe
from mmpanseg.checkpoints.sources import CheckpointError
from mmpanseg.engine.command_line import UsageError, one_line, user_mistakes
from mmpanseg.evaluation.panoptic_files import (
    category_ids,
    load_panoptic_json,
    pair_annotations,
    png_folder,
)
from mmpanseg.evaluation.panoptic_quality import PanopticDataError, PanopticMap
from mmpanseg.report.prediction import Prediction, in_order, prediction_of_sample
from mmpanseg.report.source import Answer, Failure
from mmpanseg.report.truth import Truth
from mmpanseg.results import Result
from mmpanseg.structures.exif_orientation import orient_annotation
from mmpanseg.structures.label_image import read_label_image
from mmpanseg.structures.panoptic_png import read_panoptic_png
from mmpanseg.utils import strict_json

JSON_LINES = 'predictions.jsonl'
PREDICTION_ENDINGS = ('.json', '.jsonl', '.pkl', '.pickle')
_NO_FATES = ('Why queries were lost is unknown: saved predictions contain segments only. Run the '
             'report with the checkpoint to know it.')


def open_predictions(path: Path, truth: Truth, numbers: Sequence[int],
                     folder: Path | None = None) -> 'SavedPredictions':
    """Find the format of saved predictions.

    Args:
        path: a panoptic JSON, ``predictions.jsonl``, a pickle of ``test --out``, or a folder that
            ``mmpanseg predict`` wrote.
        truth: images and classes.
        numbers: of the images that need a prediction.
        folder: of the PNGs of a panoptic JSON; by default beside it.

    Raises:
        UsageError: there is no such file, or it is none of predictions; an image has none; or the
            classes differ from those of the ground truth.
    """
    if path.is_dir():
        candidates = [path / PANOPTIC, path / 'coco' / PANOPTIC, path / JSON_LINES]
        found = next((entry for entry in candidates if entry.is_file()), None)
        if found is None:
            raise UsageError(f'--predictions {path} contains no {PANOPTIC} and no {JSON_LINES}: '
                             'name a folder that `mmpanseg predict --save coco` or json wrote, or '
                             'a file')
        path = found
    if not path.is_file():
        raise UsageError(f'--predictions {path} does not exist')
    kinds = dict(zip(PREDICTION_ENDINGS, (CocoPredictions, JsonLines, Pickle, Pickle)))
    kind = kinds.get(path.suffix.lower())
    if kind is None:
        raise UsageError(f'--predictions {path}: the name must end in {", ".join(kinds)}')
    with user_mistakes():
        if kind is CocoPredictions:
            return CocoPredictions(path, truth, numbers, folder)
        return kind(path, truth, numbers)


class SavedPredictions:
    """Base of the readers.

    Args:
        path: the file.
        truth: images and classes.
        numbers: of the images that need a prediction.
    """

    knows_queries = False

    def __init__(self, path: Path, truth: Truth, numbers: Sequence[int]) -> None:
        self.path, self.truth = path, truth
        self.notes = [_NO_FATES]

    def read(self, number: int, sample: dict) -> Prediction:
        """Read the prediction for an image.

        Args:
            number: of the image.
            sample: of the image, see :meth:`Truth.sample`.

        Raises:
            Exception: a file is missing or damaged.
        """
        raise NotImplementedError

    def answers(self, dataset: Any, numbers: Sequence[int]) -> Iterator[Answer]:
        """Read predictions, see :class:`mmpanseg.report.source.Source`."""
        for number in numbers:
            try:
                sample = self.truth.sample(number)
                found = self.read(number, sample)
            except Exception as error:  # decoders raise errors of many types
                yield number, Failure(one_line(error))
            else:
                sample.update(found.outputs)
                yield number, (found, sample)

    def _pairs(self, numbers: Sequence[int],
               entries: Sequence[tuple[Any, str | None]]) -> dict[int, int]:
        """Find the prediction of each image by ids, or by file names if these contradict.

        Args:
            numbers: of images.
            entries: id and file name of each prediction; names are None where unknown.

        Returns:
            number of an image -> position in ``entries``.
        """
        infos = {number: self.truth.info(number) for number in numbers}
        gt = _listing([(info['img_id'], str(info.get('img_path') or ''))
                       for info in infos.values()])
        pred = _listing(list(entries))
        positions = {annotation['image_id']: at for at, annotation in enumerate(
            pred['annotations'])}
        pairs = pair_annotations(gt, pred, self.path)
        return {number: positions[found['image_id']]
                for number, (_, found) in zip(infos, pairs)}


def _listing(entries: Sequence[tuple[Any, str | None]]) -> dict:
    """List images as :func:`pair_annotations` reads them."""
    return dict(annotations=[dict(image_id=number, file_name=name) for number, name in entries],
                images=[dict(id=number, file_name=name) for number, name in entries if name])


class CocoPredictions(SavedPredictions):
    """A COCO panoptic JSON with PNGs, and ``instances.json`` and semantic PNGs beside it.

    Args:
        path: see :class:`SavedPredictions`.
        truth: see :class:`SavedPredictions`.
        numbers: see :class:`SavedPredictions`.
        folder: of the PNGs; by default beside the JSON.
    """

    def __init__(self, path: Path, truth: Truth, numbers: Sequence[int],
                 folder: Path | None = None) -> None:
        super().__init__(path, truth, numbers)
        content = load_panoptic_json(path, ('annotations', ))
        self.folder = png_folder(folder, path, content, 'predictions', '--predictions-folder')
        self._annotations = content['annotations']
        names = {image['id']: image['file_name'] for image in content.get('images', [])}
        self._at = self._pairs(numbers, [
            (annotation['image_id'], names.get(annotation['image_id']))
            for annotation in self._annotations])
        classes = truth.classes
        if not classes.category_ids:
            raise UsageError(f'{truth.name}: its metainfo has no label2cat, so categories of '
                             f'{path} are unknown')
        labels = {category: label for label, category in classes.category_ids.items()}
        known = category_ids(dict(categories=[
            dict(id=category, name=classes.names[label]) for category, label in labels.items()]),
            content, path)
        self._labels = {own: labels[category] for own, category in known.items()}
        unknown = {segment['category_id'] for annotation in self._annotations
                   for segment in annotation['segments_info']}.difference(self._labels)
        if unknown:
            raise PanopticDataError(
                f'{path}: category_id {sorted(unknown, key=str)[0]!r} is none of the ground truth '
                f'({truth.name}); it has {sorted(labels)[:20]}')
        self._instances = self._read_instances(path.parent / INSTANCES)

    def read(self, number: int, sample: dict) -> Prediction:
        annotation = self._annotations[self._at[number]]
        infos, name = annotation['segments_info'], annotation['file_name']
        png = read_panoptic_png(self.folder / name)
        segments = PanopticMap(
            orient_annotation(png, sample), [info['id'] for info in infos],
            [self._labels[info['category_id']] for info in infos], name=f'prediction {name}')
        outputs: dict[str, Any] = {}
        if self._instances is not None:
            outputs['pred_instances'] = _instances(self._instances.get(
                annotation['image_id'], []))
        semantic = self.folder / f'{Path(name).with_suffix("")}{SEMANTIC}.png'
        if semantic.is_file():
            labels = orient_annotation(read_label_image(str(semantic)), sample)
            outputs['pred_sem_seg'] = dict(sem_seg=torch.from_numpy(labels.astype(np.int64))[None])
        return in_order(segments, {info['id']: info.get('score') for info in infos}, {},
                        outputs=outputs)

    def _read_instances(self, path: Path) -> dict[Any, list[tuple]] | None:
        """Read the instances of ``mmpanseg predict``: image id -> (label, score, mask)."""
        if not (path.is_file() and path.with_name(IMAGES).is_file()):
            return None
        found: dict[Any, list[tuple]] = {}
        for entry in _load(path.read_text(encoding='utf-8')):
            found.setdefault(entry['image_id'], []).append(
                (self._labels[entry['category_id']], entry['score'], entry['segmentation']))
        return found


class JsonLines(SavedPredictions):
    """``predictions.jsonl`` of ``mmpanseg predict --save json``; a line is read when needed."""

    def __init__(self, path: Path, truth: Truth, numbers: Sequence[int]) -> None:
        super().__init__(path, truth, numbers)
        entries: list[tuple[Any, str | None]] = []
        self._offsets: list[int] = []
        used: set[str] = set()
        last: dict[str, int] = {}
        with open(path, 'rb') as file:
            while True:
                offset = file.tell()
                line = file.readline()
                if not line:
                    break
                try:
                    content = _load(line)
                    name, classes = content['name'], content['classes']
                    used.update(classes[entry['label']] for key in ('segments', 'instances')
                                for entry in content.get(key) or ())
                    listed = content['image_id'], content['file_name']
                except (ValueError, KeyError, IndexError, TypeError) as error:
                    raise ValueError(f'{path}: the line at byte {offset} is no result of '
                                     f'`mmpanseg predict --save json` ({one_line(error)})'
                                     ) from error
                if name in last:  # predicted again
                    entries[last[name]], self._offsets[last[name]] = listed, offset
                    continue
                last[name] = len(entries)
                entries.append(listed)
                self._offsets.append(offset)
        unknown = used.difference(truth.classes.names)
        if unknown:
            raise PanopticDataError(f'{path}: class {sorted(unknown)[0]!r} is none of the ground '
                                    f'truth ({truth.name}); it has {truth.classes.names[:20]}')
        self._at = self._pairs(numbers, entries)

    def read(self, number: int, sample: dict) -> Prediction:
        with open(self.path, 'rb') as file:
            file.seek(self._offsets[self._at[number]])
            result = Result.from_dict(_load(file.readline()))
        found = result.panoptic_segments
        if found is None or result.panoptic_map is None:
            raise PanopticDataError(f'{self.path}: the result of {result.file_name} has no '
                                    'panoptic map; predict with --task panoptic')
        labels = {label: self.truth.classes.names.index(name)
                  for label, name in enumerate(result.classes) if name in self.truth.classes.names}
        segments = PanopticMap(result.panoptic_map, [segment.id for segment in found],
                               [labels[segment.label] for segment in found], name='the prediction')
        outputs: dict[str, Any] = {}
        if result.instances is not None:
            outputs['pred_instances'] = _instances([
                (labels[entry.label], entry.score, entry.rle()) for entry in result.instances])
        if result.semantic_map is not None:
            table = np.array([labels.get(label, -1) for label in range(len(result.classes))])
            outputs['pred_sem_seg'] = dict(sem_seg=torch.from_numpy(
                table[result.semantic_map])[None])
        return in_order(segments, {segment.id: segment.score for segment in found}, {},
                        outputs=outputs)


class Pickle(SavedPredictions):
    """The pickle of ``mmpanseg test --out`` and ``tools/test.py --out``: all of it is in memory."""

    def __init__(self, path: Path, truth: Truth, numbers: Sequence[int]) -> None:
        super().__init__(path, truth, numbers)
        try:
            with open(path, 'rb') as file:
                content = read_trusted_or_safe(file, str(path), 'pickle')
        except CheckpointError as error:
            raise UsageError(f'{path}: {one_line(error)}') from error
        except Exception as error:  # damaged pickles raise errors of many types
            raise UsageError(f'{path} is no readable pickle ({one_line(error)}): write it again'
                             ) from error
        if not isinstance(content, list) or not all(
                isinstance(sample, dict) and 'img_id' in sample for sample in content):
            raise UsageError(f'{path} is no list of samples with img_id, as `mmpanseg test --out` '
                             'writes')
        self._samples = content
        self._at = self._pairs(numbers, [
            (sample['img_id'], sample.get('img_path')) for sample in content])

    def read(self, number: int, sample: dict) -> Prediction:
        return prediction_of_sample(self._samples[self._at[number]],
                                    len(self.truth.classes))


def _instances(found: Sequence[tuple]) -> Mapping[str, Any]:
    """Convert (label, score, run lengths) to what metrics read."""
    return dict(labels=torch.tensor([entry[0] for entry in found], dtype=torch.int64),
                scores=torch.tensor([entry[1] for entry in found], dtype=torch.float64),
                masks=[entry[2] for entry in found])


def _load(text: str | bytes) -> Any:
    return json.loads(text, parse_constant=strict_json.refuse_constant)
