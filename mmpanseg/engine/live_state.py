"""What a running training or test is at: the numbers behind its view."""
import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

# Names of the score that stands for a validation, the last part of a key, by preference.
_KEY_METRICS = ('PQ', 'mIoU', 'AP')
MESSAGES_KEPT = 5
_BINS = 128


class Message(NamedTuple):
    """A warning or an error.

    Attributes:
        clock: time of the day.
        level: e.g. ``WARNING``.
        text: one line or several.
    """
    clock: str
    level: str
    text: str


class Score(NamedTuple):
    """Result of a validation.

    Attributes:
        step: of the training; None for those before a resume.
        value: of the key metric.
    """
    step: int | None
    value: float


class Trend:
    """A series of any length, as averages over equal parts; needs constant memory.

    Attributes:
        smoothed: average of all values, beyond ``window`` of them an exponential one with the
            weight ``1 / window`` of the newest; None without values.

    Args:
        window: see ``smoothed``. It is several times that of the average in the log, so that a
            falling loss is below.
    """

    def __init__(self, window: int = 250) -> None:
        self._window = window
        self._means: list[float] = []
        self._size = 1
        self._part: list[float] = []
        self._count = 0
        self.smoothed: float | None = None

    def add(self, value: float) -> None:
        """Add a value; one that is not finite is left out."""
        if not math.isfinite(value):
            return
        self._count += 1
        former = value if self.smoothed is None else self.smoothed
        self.smoothed = former + (value - former) / min(self._count, self._window)
        self._part.append(value)
        if len(self._part) < self._size:
            return
        self._means.append(sum(self._part) / self._size)
        self._part.clear()
        if len(self._means) == _BINS:
            self._means = [(one + two) / 2 for one, two in
                           zip(self._means[::2], self._means[1::2])]
            self._size *= 2

    def means(self, count: int) -> list[float]:
        """Return averages of at most ``count`` equal parts, from first to last."""
        means = list(self._means)
        if self._part:
            means.append(sum(self._part) / len(self._part))
        parts = min(count, len(means))
        edges = [len(means) * k // parts for k in range(parts + 1)] if parts else [0]
        return [sum(means[a:b]) / (b - a) for a, b in zip(edges, edges[1:])]


@dataclass
class RunState:
    """Numbers of a training or a test; None and '' are what is not known yet.

    Attributes:
        name: of the config.
        kind: ``train`` or ``test``.
        device: its name.
        phase: ``starting``, ``running``, ``validating``, ``scoring``, ``finished`` or ``stopped``.
        step, total: steps done, and of the whole training.
        epoch, epochs: finished epochs and all of them, in trainings by epochs.
        elapsed: seconds since the start.
        left: seconds to the end, validations included.
        step_time: seconds a step; data_time: the part of it that waits for data.
        rates: learning rates by name.
        loss: average of the last steps, as the log file has it.
        trend: of the loss of single steps.
        terms: loss terms by name, averaged like ``loss``.
        memory: bytes in use at the peak; memory_limit: of the GPU; on_gpu: whether of a GPU.
        metric: key of the score of a validation.
        scores: results of the validations.
        further: other scores of the last validation.
        next_validation: step, or epoch in trainings by epochs.
        images, all_images, images_per_second: of the validation or test that runs.
        checkpoint, best_checkpoint, log: paths.
        messages: the last warnings and errors.
    """
    name: str = ''
    kind: str = 'train'
    device: str = ''
    phase: str = 'starting'
    step: int = 0
    total: int = 0
    epoch: int = 0
    epochs: int = 0
    elapsed: float = 0.0
    left: float | None = None
    step_time: float | None = None
    data_time: float | None = None
    rates: dict[str, float] = field(default_factory=dict)
    loss: float | None = None
    trend: Trend = field(default_factory=Trend)
    terms: dict[str, float] = field(default_factory=dict)
    memory: int = 0
    memory_limit: int | None = None
    on_gpu: bool = False
    metric: str = ''
    scores: list[Score] = field(default_factory=list)
    further: dict[str, float] = field(default_factory=dict)
    next_validation: int | None = None
    images: int = 0
    all_images: int = 0
    images_per_second: float | None = None
    checkpoint: str = ''
    best_checkpoint: str = ''
    log: str = ''
    messages: deque[Message] = field(default_factory=lambda: deque(maxlen=MESSAGES_KEPT))

    @property
    def best(self) -> Score | None:
        """The best validation; the first one of equal ones."""
        if not self.scores:
            return None
        worst_first = min if 'loss' in self.metric.lower() else max
        finite = [score for score in self.scores if math.isfinite(score.value)]
        return worst_first(finite, key=lambda score: score.value) if finite else None


def loss_direction(loss: float | None, smoothed: float | None) -> int:
    """Compare the average loss of the last steps with the one of many more steps.

    Args:
        loss: of the last steps.
        smoothed: see :class:`Trend`.

    Returns:
        -1 if it is more than 1 % smaller, 1 if it is more than 1 % greater, else 0.
    """
    if loss is None or smoothed is None or not math.isfinite(loss):
        return 0
    difference = loss - smoothed
    return 0 if abs(difference) <= 0.01 * abs(smoothed) else int(math.copysign(1, difference))


def key_metric(names: Iterable[str], preferred: Sequence[str] = ()) -> str:
    """Choose the score that stands for a validation.

    Args:
        names: keys of all scores.
        preferred: keys that select the best checkpoint.

    Returns:
        The first preferred key; else PQ, mIoU or AP; else the first key; '' without any.
    """
    names = list(names)
    for name in preferred:
        if name in names:
            return name
    for metric in _KEY_METRICS:
        for name in names:
            if name.rpartition('/')[2] == metric:
                return name
    return names[0] if names else ''


def validations_left(done: int, total: int, interval: int, begin: int) -> int:
    """Count the validations that remain, as mmengine's loops have them.

    Args:
        done: finished steps (or epochs).
        total: all of them; the last one has a validation.
        interval: steps between validations.
        begin: first step that may have one.
    """
    start = max(done, begin - 1)
    if start >= total:
        return 0
    return total // interval - start // interval + bool(total % interval)


def next_validation(done: int, total: int, interval: int, begin: int) -> int | None:
    """Return the step of the next validation, None without one; see :func:`validations_left`."""
    if not validations_left(done, total, interval, begin):
        return None
    start = max(done, begin - 1)
    return min((start // interval + 1) * interval, total)
