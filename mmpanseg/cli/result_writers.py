"""Files that ``mmpanseg predict`` writes for each image."""
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mmpanseg.apis.dataset_ids import DatasetIds, KnownImage
from mmpanseg.apis.prediction_files import PredictionFiles
from mmpanseg.cli.output_folder import (
    COCO,
    PICTURES,
    POLYGONS,
    PREDICTIONS,
    Entry,
    read_lines,
)
from mmpanseg.engine.command_line import UsageError, one_line
from mmpanseg.results import Result
from mmpanseg.results.labelme import to_labelme
from mmpanseg.utils import strict_json
from mmpanseg.utils.atomic_files import append_line, result_file
from mmpanseg.video import Track
from mmpanseg.visualization.picture_files import write_picture


class Predicted:
    """A result, on its way to the writers.

    Args:
        entry: of the image.
        result: of the image, with ids of exports.
        tracks: id of a segment -> its track, of a frame of a video.
        draw_options: of :meth:`Result.plot`; with ``truth``, of :meth:`Result.compare`.
    """

    def __init__(self, entry: Entry, result: Result, tracks: Mapping[int, Track] | None = None,
                 **draw_options: Any) -> None:
        self.entry, self.result, self.tracks = entry, result, tracks
        self._draw_options = draw_options

    @cached_property
    def picture(self) -> np.ndarray:
        """Picture, uint8 RGB [H, W, 3] or RGBA [H, W, 4], drawn once for all writers."""
        if 'truth' in self._draw_options:
            return self.result.compare(**self._draw_options)
        colors = None if self.tracks is None else {
            number: track.color for number, track in self.tracks.items()}
        return self.result.plot(colors=colors, **self._draw_options)

    def to_dict(self) -> dict:
        """Content of the result in JSON files."""
        content = dict(name=self.entry.name, source=self.entry.source, **self.result.to_dict())
        if self.tracks is not None:
            for entry in content['segments']:
                entry['track_id'] = self.tracks[entry['id']].id
        return content


class Writer(Protocol):
    """Writes one kind of result files."""

    def write(self, predicted: Predicted) -> Path:
        """Write the result of one image and return the path of its file."""

    def finish(self) -> None:
        """Complete the files of a run; called once, also after an error."""


class PictureWriter:
    """Overlays: ``pictures/NAME.png``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / PICTURES

    def write(self, predicted: Predicted) -> Path:
        path = self.folder / f'{predicted.entry.name}.png'
        write_picture(path, predicted.picture)
        return path

    def finish(self) -> None:
        pass


class JsonWriter:
    """One line for each image in ``predictions.jsonl``, as soon as it is predicted."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / PREDICTIONS
        self._had_lines = self.path.is_file()
        if self._had_lines:
            self._keep_last_lines()

    def write(self, predicted: Predicted) -> Path:
        append_line(self.path, dump(predicted.to_dict(), predicted.entry.source))
        return self.path

    def finish(self) -> None:
        if self._had_lines:
            self._keep_last_lines()

    def _keep_last_lines(self) -> None:
        """Remove lines of images that were predicted again, and incomplete lines."""
        last = {line['name']: number for number, line in enumerate(read_lines(self.path))}
        with open(self.path, encoding='utf-8') as file:
            if sum(1 for _ in file) == len(last):
                return
        with result_file(self.path) as part, open(part, 'w', encoding='utf-8') as file:
            for number, line in enumerate(read_lines(self.path)):
                if last[line['name']] == number:
                    file.write(strict_json.dumps(line) + '\n')


class PolygonWriter:
    """Outlines in the format of LabelMe: ``polygons/NAME.json``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / POLYGONS

    def write(self, predicted: Predicted) -> Path:
        entry, result = predicted.entry, predicted.result
        path = self.folder / f'{entry.name}.json'
        source = entry.source
        content = to_labelme(
            result, source if '://' in source else os.path.relpath(source, path.parent))
        with result_file(path) as part:
            part.write_text(dump(content, source), encoding='utf-8')
        return path

    def finish(self) -> None:
        pass


class CocoWriter:
    """COCO's formats in ``coco/``, see :class:`mmpanseg.apis.prediction_files.PredictionFiles`."""

    def __init__(self, folder: Path, ids: DatasetIds, num_things: int) -> None:
        self.files = PredictionFiles(folder / COCO, ids, num_things)

    def write(self, predicted: Predicted) -> Path:
        entry, result = predicted.entry, predicted.result
        prediction: dict[str, Any] = {}
        if result.panoptic_map is not None:
            prediction.update(panoptic_seg=result.panoptic_map, segments_info=[
                dict(id=segment.id, label=segment.label, score=segment.score)
                for segment in result.segments])
        if result.instances is not None:
            prediction['instances'] = [
                dict(label=found.label, score=found.score, bbox=list(found.box), mask=found.rle())
                for found in result.instances]
        if result.semantic_map is not None:
            prediction['sem_seg'] = result.semantic_map
        try:
            self.files.write(entry.source, result.size, prediction, entry.name,
                             KnownImage(entry.id, entry.file_name))
        except ValueError as error:
            raise UsageError(one_line(error)) from error
        return self.files.folder

    def finish(self) -> None:
        self.files.finish()


def make_writers(folder: Path, kinds: Sequence[str], ids: DatasetIds,
                 num_things: int) -> dict[str, Writer]:
    """Create the writers of some kinds of files: png, json, coco, polygons; others are left out.

    Args:
        folder: output folder.
        kinds: of files.
        ids: ids of the categories.
        num_things: labels below are things.
    """
    made: dict[str, Writer] = {}
    for kind in kinds:
        if kind == 'png':
            made[kind] = PictureWriter(folder)
        elif kind == 'json':
            made[kind] = JsonWriter(folder)
        elif kind == 'polygons':
            made[kind] = PolygonWriter(folder)
        elif kind == 'coco':
            made[kind] = CocoWriter(folder, ids, num_things)
    return made


def dump(content: dict, source: str) -> str:
    """Convert a result to JSON.

    Raises:
        UsageError: a number is not finite; the text names the image.
    """
    try:
        return strict_json.dumps(content)
    except ValueError as error:
        raise UsageError(f'{source}: a predicted score or box is not finite, which JSON cannot '
                         'represent; check the weights and the image') from error
