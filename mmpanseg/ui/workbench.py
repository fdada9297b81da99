"""What pages ask for: predictions, fusions with other thresholds, and words for what is done."""
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmpanseg.apis.predictor import Logits, Predictor
from mmpanseg.apis.resized_logits import ResizedLogits
from mmpanseg.apis.video_frames import VideoFrames
from mmpanseg.engine.command_line import UsageError, one_line
from mmpanseg.results import Result
from mmpanseg.ui.limits import InputError, Limits
from mmpanseg.ui.model_shelf import ModelShelf
from mmpanseg.ui.rules import OWN, Value, fusion_config
from mmpanseg.ui.session import Frame, Session
from mmpanseg.ui.view import encode_jpeg, frame_view
from mmpanseg.video import SegmentTracker

# what the page gets: dict(state='working' | 'done' | 'error', text, ...)
Update = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """The controls of the page.

    Attributes:
        model: name of a choice.
        task: 'panoptic', 'instance' or 'semantic'.
        rule: fusion head, see :func:`mmpanseg.ui.rules.fitting_rules`.
        values: of the knobs of the rule.
        min_score: least score of an instance.
    """
    model: str
    task: str = 'panoptic'
    rule: str = OWN
    values: Sequence[Value] = ()
    min_score: float = 0.0

    def fuse_options(self) -> dict[str, Any]:
        """Arguments of :meth:`Predictor.fuse`."""
        options: dict[str, Any] = dict(task=self.task)
        if self.task != 'semantic':
            options['fusion'] = fusion_config(self.rule, self.values)
        return options

    def filtered(self, result: Result) -> Result:
        """Leave out the instances with a lower score than ``min_score``.

        Args:
            result: of the task.
        """
        return result.filter(min_score=self.min_score) if self.task == 'instance' else result


def working(text: str) -> Update:
    """Say what is done.

    Args:
        text: a few words.
    """
    return dict(state='working', text=text)


def failed(text: str) -> Update:
    """Say what went wrong.

    Args:
        text: what, and what to do.
    """
    return dict(state='error', text=text)


def safely(steps: Iterator[Update]) -> Iterator[Update]:
    """Turn errors into messages on the page; those that nobody expects are also in the log.

    Args:
        steps: of a function of the workbench.
    """
    try:
        yield from steps
    except (InputError, UsageError) as error:
        yield failed(str(error))
    except (ValueError, OSError) as error:
        yield failed(one_line(error))
    except Exception as error:
        traceback.print_exc()
        yield failed(f'The server met an error that it does not know ({type(error).__name__}); '
                     'its log has the details.')


class Workbench:
    """Predicts what the pages ask for.

    Args:
        shelf: the models.
        limits: of inputs.
    """

    def __init__(self, shelf: ModelShelf, limits: Limits) -> None:
        self.shelf, self.limits = shelf, limits

    def predict_image(self, session: Session, settings: Settings, data: bytes,
                      name: str) -> Iterator[Update]:
        """Predict an image.

        Args:
            session: of the page.
            settings: controls of the page.
            data: content of its file.
            name: of its file.

        Yields:
            what is done, and at last the result.

        Raises:
            InputError: the image is too large, or none.
            ValueError: it cannot be read.
        """
        self.limits.check_image(data, name)
        session.clear(name, data)
        yield from self.predict_again(session, settings)

    def predict_again(self, session: Session, settings: Settings) -> Iterator[Update]:
        """Predict the image of a page with the model of its controls.

        Args:
            session: of the page.
            settings: controls of the page.

        Yields:
            what is done, and at last the result; nothing without an image.
        """
        if session.data is None:
            return
        start = time.perf_counter()
        loading = not self.shelf.is_loaded(settings.model)
        if loading:
            yield working(f'Loading {settings.model}')
        predictor = self.shelf.get(settings.model)
        loaded = time.perf_counter()
        yield working('Predicting')
        try:
            logits = predictor.logits(session.data)
        except ValueError as error:
            raise InputError(_without_bytes(str(error), len(session.data), session.name)) from error
        assert isinstance(logits, Logits)
        logits = replace(logits, file_name=session.name, name=session.name)
        kept = ResizedLogits.of(logits, self.limits.mask_bytes)
        options = settings.fuse_options()
        if settings.task != 'semantic':
            kept.resize(predictor.fusion_head(fusion=options['fusion']))
        session.logits = settings.model, kept
        predicted = time.perf_counter()
        yield working('Fusing')
        times = dict(load=loaded - start) if loading else {}
        yield self._fused(session, predictor, settings, dict(times, predict=predicted - loaded))

    def fuse(self, session: Session, settings: Settings) -> Iterator[Update]:
        """Compute the result of the page's image anew, with other settings of the fusion.

        Args:
            session: of the page.
            settings: controls of the page.

        Yields:
            the result; nothing without an image.
        """
        if session.logits is None:
            if session.frames:
                yield dict(state='note', text='These settings apply to the next video, or to this '
                                              'one when you predict it again.')
            return
        if session.logits[0] != settings.model:
            yield from self.predict_again(session, settings)
            return
        yield self._fused(session, self.shelf.get(settings.model), settings, {})

    def predict_video(self, session: Session, settings: Settings, path: Path,
                      name: str) -> Iterator[Update]:
        """Predict a short video.

        Args:
            session: of the page.
            settings: controls of the page.
            path: of the file.
            name: of the file, as its owner calls it.

        Yields:
            what is done, and at last the result.

        Raises:
            InputError: the video is too large or too long, or none.
        """
        self.limits.check_bytes(path.stat().st_size, name)
        try:
            video = VideoFrames(path)
        except ValueError as error:
            raise InputError(str(error).replace(str(path), name)) from error
        self.limits.check_video(video.rate, video.count, name)
        self.limits.check_pixels((video.size[0], video.size[1]), name)
        every = max(1, -(-video.count // self.limits.frames))
        video.every = every
        total = min(max(1, len(video)), self.limits.frames)
        start = time.perf_counter()
        if not self.shelf.is_loaded(settings.model):
            yield working(f'Loading {settings.model}')
        predictor = self.shelf.get(settings.model)
        yield working(f'Predicting {total} frames')
        session.clear(name)
        tracker = SegmentTracker(predictor_palette(predictor))
        frames: list[Frame] = []
        results = predictor.stream(video, **settings.fuse_options())
        for number, result in enumerate(results):
            if number >= self.limits.frames:
                break
            assert isinstance(result, Result)
            pixels, result = result.image, settings.filtered(result)
            assert pixels is not None
            colors = {key: track.color for key, track in tracker.update(result).items()}
            result.image, result.file_name = None, None
            frames.append(Frame(result, encode_jpeg(pixels), colors,
                                number * every / video.rate if video.rate else None))
            yield working(f'Predicted frame {number + 1} of {total}')
        session.frames, session.rate = frames, (video.rate or 25) / every
        spent = time.perf_counter() - start
        yield dict(frame_view(session), state='done', times=dict(predict=spent), task=settings.task,
                   model=settings.model)

    def _fused(self, session: Session, predictor: Predictor, settings: Settings,
               times: dict[str, float]) -> Update:
        assert session.logits is not None
        start = time.perf_counter()
        logits = session.logits[1]
        result = settings.filtered(predictor.fuse(logits, **settings.fuse_options()))
        if session.frames:
            jpeg = session.frames[0].jpeg
        else:
            assert result.image is not None
            jpeg = encode_jpeg(result.image)
        session.frames = [Frame(result, jpeg)]
        view = frame_view(session)
        times = dict(times, fuse=time.perf_counter() - start)
        return dict(view, state='done', times=times, model=settings.model, task=settings.task)


def predictor_palette(predictor: Predictor) -> list | None:
    """RGB color of each label of a model; None if it has none.

    Args:
        predictor: the model.
    """
    palette = predictor.model.dataset_meta.get('palette')
    return None if palette is None or isinstance(palette, str) else list(palette)


def _without_bytes(text: str, count: int, name: str) -> str:
    """Put the name of a file in place of what errors call it."""
    return text.replace(f'the given image of {count} bytes', name)
