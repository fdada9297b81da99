"""The work of ``mmpanseg predict``."""
import contextlib
import hashlib
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import cv2

from mmpanseg.apis.dataset_ids import AnnotationFile, DatasetIds
from mmpanseg.apis.predictor import FailedInput, Predictor, load
from mmpanseg.apis.truth_maps import TruthMaps
from mmpanseg.cli.drawing_options import check_colors, check_drawing, find_truth, open_truth
from mmpanseg.cli.output_folder import OutputFolder, absolute, check_folder, only_run
from mmpanseg.cli.predict_screen import Screen, failures_text
from mmpanseg.cli.predict_video import predict_video
from mmpanseg.cli.result_writers import Predicted, Writer, make_writers
from mmpanseg.cli.sources import Failure, Source, find_sources
from mmpanseg.engine.command_line import UsageError, one_line
from mmpanseg.results import Result
from mmpanseg.visualization import NoDisplayError, require_display


@dataclass(frozen=True)
class PredictOptions:
    """Options of the command line, see ``mmpanseg predict --help``."""

    sources: Sequence[str]
    model: str
    weights: str | None
    out: Path
    task: str | None
    device: str | None
    batch: int
    tile: tuple[int, int] | None
    tta: bool
    classes: Sequence[str] | None
    score_thr: float | None
    fusion: str | None
    show: bool
    save: Sequence[str] | None
    ann: str | None
    every: int
    offline: bool
    cfg_options: dict[str, Any] | None
    strict_meta: bool
    overwrite: bool
    truth: str | None
    style: str
    palette: str | None
    opacity: float
    line_width: float | None
    label_size: float
    font: str | None

    @property
    def draw_options(self) -> dict[str, Any]:
        """Options of :meth:`Result.plot`."""
        chosen = dict(alpha=self.opacity, style=self.style, palette=self.palette,
                      line_width=self.line_width, label_size=self.label_size, font=self.font)
        return chosen if self.score_thr is None else dict(chosen, min_score=self.score_thr)

    def kinds(self, is_video: bool) -> Sequence[str]:
        """Kinds of files to write."""
        if self.save is not None:
            return self.save
        return ('video', ) if is_video else ('png', )


def predict(options: PredictOptions) -> int:
    """Predict all sources and write the results.

    Args:
        options: of the command line.

    Returns:
        Exit status: 1 if an input failed, else 0.

    Raises:
        click.UsageError: options contradict the sources.
        UsageError: the run cannot start; the text is one line.
        FileWriteError: a result cannot be written.
    """
    _silence_opencv()
    sources, failures = find_sources(options.sources, options.out)
    if options.save and 'video' in options.save and not any(one.is_video for one in sources) and (
            sources or not failures):
        raise click.UsageError('--save video: none of the sources is a video')
    check_folder(options.out)
    check_drawing(options.draw_options, any(one.is_video for one in sources), options.truth)
    if options.show:
        _check_display()
    ids = _annotation_ids(options, sources) if options.ann else None
    if ids is not None:
        sources, more = _listed(sources, ids, str(options.ann))
        failures += more
    if not sources:
        return _report(failures, len(failures))
    predictor, settings = _load(options)
    ids = ids or DatasetIds(predictor.classes, predictor.model.dataset_meta.get('label2cat'))
    ids.classes = predictor.classes
    _check_categories(ids, options.ann)
    check_colors(options.palette, predictor.classes)
    truth = None if options.truth is None else open_truth(options.truth, predictor.classes)
    total = len(sources) + len(failures)
    with only_run(options.out):
        folder = OutputFolder(options.out, settings, ids, options.overwrite)
        folder.announce(sources)
        with _writers(options, folder, predictor.num_things) as writers, Screen(
                sum(not source.is_video for source in sources), total) as screen:
            for failure in failures:
                screen.failed(failure)
            _predict_all(predictor, sources, folder, options, writers, screen, truth)
    return _report(screen.failures, total)


def _predict_all(predictor: Predictor, sources: Sequence[Source], folder: OutputFolder,
                 options: PredictOptions, writers: dict[str, Writer], screen: Screen,
                 truth: TruthMaps | None) -> None:
    try:
        for is_video, group in itertools.groupby(sources, lambda source: source.is_video):
            if is_video:
                for source in group:
                    predict_video(predictor, source, folder, options, writers, screen)
            else:
                _predict_images(predictor, list(group), folder, options, writers, screen, truth)
    except KeyboardInterrupt:
        screen.stopped(str(options.out))
        raise
    screen.summary(str(options.out))


def _predict_images(predictor: Predictor, sources: list[Source], folder: OutputFolder,
                    options: PredictOptions, writers: dict[str, Writer], screen: Screen,
                    truth: TruthMaps | None) -> None:
    wanted = [writers[kind] for kind in options.kinds(is_video=False) if kind in writers]
    results = predictor.stream([source.path for source in sources], skip_unreadable=True)
    for source, result in zip(sources, results):
        if isinstance(result, FailedInput):
            screen.failed(Failure(source.path, one_line(result.error)))
            continue
        entry = folder.entry(source, result.size)
        if entry is None:
            screen.failed(Failure(source.path, f'{source.path} is no image of its own in '
                                  f'{options.ann}: its size differs from the listed one, or '
                                  'several have its name'))
            continue
        result.category_ids = folder.ids.categories
        result.image_id, result.file_name = entry.id, entry.file_name
        draw_options = options.draw_options
        if truth is not None:
            try:
                draw_options['truth'] = find_truth(truth, source.path, result.size)
            except (OSError, ValueError) as error:
                screen.failed(Failure(source.path, one_line(error)))
                continue
        predicted = Predicted(entry, result, **draw_options)
        files = [writer.write(predicted) for writer in wanted]
        if options.show:
            result.show(**draw_options)
        screen.image_done(_line(source, result, files))


def _line(source: Source, result: Result, files: Sequence[Path]) -> str:
    seconds = sum(result.speed.values()) / 1000 if result.speed else 0
    where = f' -> {files[0]}' if files else ''
    return (f'{source.path}: {len(result)} segments: {result.summary()}; {seconds:.2f} s{where}'
            if len(result) else f'{source.path}: no segments; {seconds:.2f} s{where}')


@contextlib.contextmanager
def _writers(options: PredictOptions, folder: OutputFolder,
             num_things: int) -> Iterator[dict[str, Writer]]:
    """Create the writers; at the end, and after an error, all files are completed."""
    kinds = options.save or ('png', 'video')
    try:
        writers = make_writers(folder.folder, kinds, folder.ids, num_things)
    except ValueError as error:
        raise UsageError(one_line(error)) from error
    try:
        yield writers
    except BaseException:
        for writer in writers.values():
            with contextlib.suppress(OSError):  # the first error has the reason
                writer.finish()
        raise
    for writer in writers.values():
        writer.finish()


def _load(options: PredictOptions) -> tuple[Predictor, dict[str, Any]]:
    """Load the model; returns it with the settings that results depend on."""
    try:
        predictor = load(
            options.model, options.weights, options.device, task=options.task, tile=options.tile,
            tta=options.tta, score_thr=options.score_thr, fusion=options.fusion,
            classes=options.classes, batch_size=options.batch,
            strict_meta=options.strict_meta, offline=options.offline,
            cfg_options=options.cfg_options)
    except (TypeError, ValueError) as error:
        raise UsageError(one_line(error)) from error
    model = options.model
    settings = {
        '--model': absolute(model) if Path(model).exists() else model,
        '--weights': options.weights and absolute(options.weights),
        '--task': options.task, '--tile': options.tile, '--tta': options.tta,
        '--classes': options.classes, '--score-thr': options.score_thr, '--fusion': options.fusion,
        '--every': options.every, '--ann': options.ann and os.path.abspath(options.ann),
        '--cfg-options': options.cfg_options and repr(options.cfg_options),
        'weights': _fingerprint(Path(options.weights or model)), 'classes': list(predictor.classes)}
    return predictor, settings


def _fingerprint(path: Path) -> str | None:
    """Digest that differs for other weights at the same path; None if there is no such file.

    The ends of a file are sufficient, and fast: training changes all weights.
    """
    if not path.is_file():
        return None
    size, part = path.stat().st_size, 1 << 16
    with open(path, 'rb') as file:
        digest = hashlib.sha256(file.read(part))
        file.seek(max(0, size - part))
        digest.update(file.read(part) + str(size).encode())
    return digest.hexdigest()[:16]


def _annotation_ids(options: PredictOptions, sources: Sequence[Source]) -> DatasetIds:
    """Ids of the images in the annotation file."""
    roots = {source.root for source in sources}
    prefix = dict(img=roots.pop()) if len(roots) == 1 else {}
    ann = str(options.ann)
    ids = DatasetIds((), None, AnnotationFile(ann, prefix))
    if not Path(ann).is_file():
        raise UsageError(f'--ann {ann} does not exist: give a JSON file of COCO\'s format')
    try:
        content = ids.content
    except ValueError as error:
        raise UsageError(f'--ann: {one_line(error)}') from error
    for key in ('images', 'categories'):
        if not content.get(key):
            raise UsageError(f'--ann {ann} is no annotation file: it has no list "{key}"; give a '
                             'JSON file of COCO\'s format')
    return ids


def _check_categories(ids: DatasetIds, ann: str | None) -> None:
    """Raise a UsageError if an annotation file knows none of the model's classes."""
    names = [category['name'] for category in ids.content.get('categories', ())]
    if names and not set(names).intersection(ids.classes):
        raise UsageError(f'--ann {ann} has none of the model\'s classes: it has '
                         f'{", ".join(map(str, names[:5]))}, ..., the model '
                         f'{", ".join(ids.classes[:5])}, ...')


def _listed(sources: Sequence[Source], ids: DatasetIds,
            ann: str) -> tuple[list[Source], list[Failure]]:
    """Leave out the sources that an annotation file does not list."""
    listed = [source for source in sources if not source.is_video and ids.lists(source.path)]
    if not listed and sources:
        raise UsageError(f'--ann {ann} lists none of the {len(sources)} sources, such as '
                         f'{sources[0].path}; its file names are like '
                         f'{ids.content["images"][0]["file_name"]}')
    return listed, [
        Failure(source.path, f'{source.path} is a video, and --ann lists images' if source.is_video
                else f'{source.path} is not listed in {ann}')
        for source in sources if source not in set(listed)]


def _check_display() -> None:
    try:
        require_display()
    except NoDisplayError as error:
        raise UsageError(f'--show: {one_line(error).partition("show: ")[2]}') from error


def _report(failures: Sequence[Failure], total: int) -> int:
    """End a run with failures in one line."""
    if not failures:
        return 0
    if total == 1:
        raise UsageError(failures[0].reason)
    raise UsageError(failures_text(failures, total))


def _silence_opencv() -> None:
    """Keep OpenCV and FFmpeg from writing about damaged files to the screen."""
    os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')
    cv2.setLogLevel(0)
