"""Videos of ``mmpanseg predict``: an overlay video, and a line of JSON for each frame."""
from __future__ import annotations

import contextlib
import http.client
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np

from mmpanseg.apis.predictor import FailedInput, Predictor
from mmpanseg.apis.video_frames import VideoError, VideoFrames
from mmpanseg.cli.output_folder import FRAMES, VIDEOS, OutputFolder, video_name
from mmpanseg.cli.predict_screen import Screen
from mmpanseg.cli.result_writers import Predicted, Writer, dump
from mmpanseg.cli.sources import Failure, Source
from mmpanseg.engine.command_line import one_line
from mmpanseg.utils.atomic_files import FileWriteError, result_file
from mmpanseg.video import SegmentTracker, video_file

if TYPE_CHECKING:
    from mmpanseg.cli.predict_run import PredictOptions


def predict_video(predictor: Predictor, source: Source, folder: OutputFolder,
                  options: PredictOptions, writers: dict[str, Writer], screen: Screen) -> None:
    """Predict every n-th frame of a video, with the memory of one frame.

    The overlay video and the JSON lines of the frames are complete or absent.

    Args:
        predictor: the model.
        source: the video.
        folder: output folder.
        options: of the command line.
        writers: of results of images, by kind; they write a result for each frame.
        screen: shows the progress.
    """
    try:
        with _local_file(source.path) as path:
            try:
                frames = VideoFrames(path, options.every)
            except VideoError as error:
                raise VideoError(str(error).replace(path, source.path)) from error
            _predict_frames(predictor, source, frames, folder, options, writers, screen)
    except (VideoError, FileNotFoundError) as error:
        screen.failed(Failure(source.path, str(error)))


def _predict_frames(predictor: Predictor, source: Source, frames: VideoFrames,
                    folder: OutputFolder, options: PredictOptions, writers: dict[str, Writer],
                    screen: Screen) -> None:
    entry = folder.entry(source, None)
    assert entry is not None
    kinds = options.kinds(is_video=True)
    wanted = [writers[kind] for kind in kinds if kind in writers and kind != 'json']
    tracker, categories = SegmentTracker(options.palette), None
    start, count = time.monotonic(), 0
    task = screen.video(source.path, len(frames))
    files: list[Path] = []
    others: list[Path] = []
    try:
        with contextlib.ExitStack() as stack:
            lines, video = None, None
            if 'json' in kinds:
                files.append(folder.folder / FRAMES / f'{entry.name}.jsonl')
                part = stack.enter_context(result_file(files[-1]))
                lines = stack.enter_context(open(part, 'w', encoding='utf-8'))
            if 'video' in kinds:
                # completed before the lines, because it can fail then
                files.insert(0, folder.folder / VIDEOS / video_name(entry.name))
                video = stack.enter_context(video_file(files[0], frames.rate / options.every))
            for count, result in enumerate(predictor.stream(frames), 1):
                assert not isinstance(result, FailedInput)
                index = (count - 1) * options.every
                frame = folder.frame_entry(entry, index)
                categories = categories or folder.ids.categories
                result.category_ids = categories
                result.image_id, result.file_name = frame.id, frame.file_name
                predicted = Predicted(frame, result, tracker.update(result), min_side=0,
                                      **options.draw_options)
                if video is not None:
                    video.write(predicted.picture)
                if lines is not None:
                    seconds = round(index / frames.rate, 6) if frames.rate > 0 else None
                    content = dict(predicted.to_dict(), frame=index, time=seconds)
                    _write(lines, files[-1], dump(content, frame.source))
                others = [writer.write(predicted) for writer in wanted]
                if options.show:
                    _show(predicted.picture, source.path)
                screen.frame_done(task)
    except BaseException:
        screen.video_stopped(task)
        raise
    seconds = time.monotonic() - start
    files += others
    where = f' -> {files[0]}' if files else ''
    screen.video_done(task, f'{source.path}: {count} frames, {tracker.count} tracks; '
                            f'{seconds:.1f} s, {count / max(seconds, 1e-9):.1f} frames/s{where}')


@contextlib.contextmanager
def _local_file(path: str) -> Iterator[str]:
    """Download a video of a URL for the time of the context."""
    if '://' not in path:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix='mmpanseg-') as folder:
        target = Path(folder, 'video')
        try:
            with urllib.request.urlopen(path, timeout=60) as response, open(target, 'wb') as file:
                shutil.copyfileobj(response, file)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise VideoError(f'{path} cannot be read: {one_line(error)}') from error
        yield str(target)


def _write(file: TextIO, path: Path, line: str) -> None:
    try:
        file.write(line + '\n')
    except OSError as error:
        raise FileWriteError(f'cannot write {path}: '
                             f'{(error.strerror or str(error)).lower()}') from error


def _show(picture: np.ndarray, title: str) -> None:
    """Show a frame in the same window as the one before it."""
    from matplotlib import pyplot

    figure = pyplot.figure(num=title)
    figure.clear()
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.imshow(picture)
    pyplot.pause(0.001)
