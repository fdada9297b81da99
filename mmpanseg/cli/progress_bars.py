"""A bar for each kind of work, on a terminal only."""
from __future__ import annotations

from typing import Any

from mmpanseg.cli.screen import console


class ProgressBars:
    """Progress bars on stderr; a context."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        from mmpanseg.cli.predict_screen import RateColumn

        messages = console(stderr=True)
        self._bars = Progress(
            '{task.description}', BarColumn(), MofNCompleteColumn(), RateColumn(),
            TimeRemainingColumn(compact=True), console=messages, transient=True,
            redirect_stdout=False, redirect_stderr=False, disable=not messages.is_terminal)
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> ProgressBars:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def advance(self, what: str, done: int, total: int) -> None:
        """Show that `done` of `total` are done."""
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=total)
        self._bars.update(self._tasks[what], completed=done)
