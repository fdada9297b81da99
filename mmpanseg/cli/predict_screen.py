"""What ``mmpanseg predict`` shows: a line per image on short work, a progress bar on long work."""
import time
from collections.abc import Sequence
from types import TracebackType

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from mmpanseg.cli.screen import console
from mmpanseg.cli.sources import Failure

# more images than these are long work
LINES = 20


class RateColumn(ProgressColumn):
    """Images per second, or seconds per image."""

    def render(self, task: Task) -> Text:
        return Text(rate_text(task.finished_speed or task.speed or 0))


class Screen:
    """Lines to stdout, and on a terminal progress bars to stderr.

    Args:
        num_images: number of images of the run, without videos.
        num_inputs: number of inputs of the run. If there is one, the end of the run tells why it
            failed.
    """

    def __init__(self, num_images: int, num_inputs: int) -> None:
        self._results, messages = console(), console(stderr=True)
        self.failures: list[Failure] = []
        self._several = num_inputs > 1
        self._start, self._done = time.monotonic(), 0
        self._quiet = num_images > LINES and messages.is_terminal
        self._progress = Progress(
            TextColumn('{task.description}', markup=False), BarColumn(), MofNCompleteColumn(),
            RateColumn(), TimeRemainingColumn(compact=True), console=messages, transient=True,
            redirect_stdout=False, redirect_stderr=False, disable=not messages.is_terminal)
        self._images: TaskID | None = None
        if self._quiet:
            self._images = self._progress.add_task('images', total=num_images)

    def __enter__(self) -> 'Screen':
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._progress.stop()

    def image_done(self, line: str) -> None:
        """Report an image."""
        self._done += 1
        if self._images is None:
            self._write(line)
        else:
            self._progress.advance(self._images)

    def video(self, name: str, total: int) -> TaskID:
        """Show a bar for the frames of a video; 0 frames if their number is unknown."""
        return self._progress.add_task(printable(name), total=total or None)

    def frame_done(self, task: TaskID) -> None:
        """Advance the bar of a video."""
        self._progress.advance(task)

    def video_done(self, task: TaskID, line: str) -> None:
        """Report a video."""
        self._done += 1
        self._progress.remove_task(task)
        self._write(line)

    def video_stopped(self, task: TaskID) -> None:
        """Remove the bar of a video that failed."""
        self._progress.remove_task(task)

    def failed(self, failure: Failure) -> None:
        """Report an input without a result."""
        self.failures.append(failure)
        if self._images is not None:
            self._progress.advance(self._images)
        if self._several:
            self._progress.console.print(printable(failure.reason), markup=False)

    def summary(self, where: str) -> None:
        """Report the number of results, if there are several."""
        if self._done + len(self.failures) < 2:
            return
        seconds = time.monotonic() - self._start
        failed = f', {len(self.failures)} failed' if self.failures else ''
        self._write(f'{self._done} done{failed} in {seconds:.1f} s '
                    f'({rate_text(self._done / max(seconds, 1e-9))}) -> {where}')

    def stopped(self, where: str) -> None:
        """Report what is done where the user stops the run."""
        self._progress.console.print(printable(
            f'stopped: {self._done} done, complete in {where}'), markup=False)

    def _write(self, line: str) -> None:
        # above the bars where both are the same terminal
        target = self._results
        if self._progress.live.is_started and target.is_terminal:
            target = self._progress.console
        target.print(printable(line), markup=False)


def failures_text(failures: Sequence[Failure], total: int) -> str:
    """Describe the inputs that failed, by name."""
    return (f'{len(failures)} of {total} inputs failed: '
            f'{", ".join(printable(failure.source) for failure in failures)}')


def rate_text(rate: float) -> str:
    """Write a rate, e.g. 2.5/s."""
    return f'{rate:.1f}/s' if rate >= 1 or rate <= 0 else f'{1 / rate:.1f} s each'


def printable(text: str) -> str:
    """Replace characters of file names that a terminal cannot show."""
    return ''.join(letter if letter.isprintable() else '?' for letter in text)
