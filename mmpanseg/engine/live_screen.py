"""The screen of a run: a view that is drawn in place on a terminal, short lines elsewhere."""
import contextlib
import logging
import os
import re
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, TextIO, cast

from rich.console import Console
from rich.constrain import Constrain
from rich.control import Control
from rich.live import Live

from mmpanseg.engine.console import ConsoleFilter, replace_console, screen_in_use
from mmpanseg.engine.live_state import Message, RunState
from mmpanseg.engine.live_view import RunView

# Lines of mmengine with the scores or losses of a step, which the screen shows in its own way.
_LOG_LINE = re.compile(r'(Iter|Epoch)\((train|val|test)\)|Exp name: ')
# Seconds between two pictures, and how much longer than drawing one this is at least.
_INTERVAL, _RATIO = 0.5, 50
# Columns at the right that the terminal may write ^C to.
_MARGIN = 2
# Level of messages that are not repeated at the end.
_NOTE = 'NOTE'
_SHOW_CURSOR = b'\x1b[?25h\n'


class LiveScreen:
    """Context of a run whose console shows a view instead of log messages.

    The log file contains all messages, and what the run prints. Warnings and errors are shown, on
    a terminal in the view and once more below its last picture. There is no thread: hooks of the
    run call :meth:`draw`.

    Args:
        state: the numbers; whoever changes them calls :meth:`draw` or :meth:`line`.
        shown: False for processes other than the main one, which show errors only.
        console: by default stdout.

    Attributes:
        live: whether a view is drawn in place.
        refresh: called before each picture to bring the state up to date.
    """

    def __init__(self, state: RunState, shown: bool = True, console: Console | None = None) -> None:
        self.state = state
        self.refresh: Callable[[], None] = lambda: None
        self._console = console or Console(
            file=sys.stdout, highlight=False, force_terminal=sys.stdout.isatty())
        self._shown = shown
        self.live = (shown and self._console.is_terminal
                     and not self._console.is_dumb_terminal)
        self.handler: logging.Handler = _MessageHandler(self, logging.WARNING if shown
                                                        else logging.ERROR)
        self._errors = sys.stderr
        self._picture: Live | None = None
        self._width = 0
        self._due = 0.0
        self._lines_to_skip = 0
        self._logger: logging.Logger | None = None
        self._early: list[tuple[int, str]] = []
        self._contexts = contextlib.ExitStack()

    def __enter__(self) -> 'LiveScreen':
        self._contexts.enter_context(screen_in_use(self))
        self._contexts.enter_context(contextlib.redirect_stdout(
            cast(TextIO, _Lines(self, logging.INFO))))
        if (self.live or not self._shown) and self._errors.isatty():
            self._contexts.enter_context(contextlib.redirect_stderr(
                cast(TextIO, _Lines(self, logging.WARNING))))
        self.draw(now=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        try:
            if kind is not None:
                self.state.phase = 'stopped'
            elif self.state.phase != 'starting':
                self.state.phase = 'finished'
            self.close()
        finally:
            self._contexts.close()

    def connect(self, logger: logging.Logger) -> None:
        """Replace the console of a logger, and log what was printed before there was one."""
        replace_console(logger)
        self._logger = logger
        early, self._early = self._early, []
        for level, text in early:
            logger.log(level, text)

    def draw(self, now: bool = False) -> None:
        """Draw the view, unless it was drawn a moment ago or there is none.

        Args:
            now: draw it in any case.
        """
        began = time.monotonic()
        if not self.live or (began < self._due and not now):
            return
        self.refresh()
        self._prepare()
        view = self._view()
        if self._picture is None:
            self._picture = Live(view, console=self._console, auto_refresh=False, transient=True,
                                 redirect_stdout=False, redirect_stderr=False,
                                 vertical_overflow='crop')
            self._picture.start(refresh=True)
        else:
            self._picture.update(view, refresh=True)
        self._due = time.monotonic() + max(_INTERVAL, _RATIO * (time.monotonic() - began))

    def _view(self, messages: bool = True) -> Constrain:
        return Constrain(RunView(self.state, messages), max(self._console.width - _MARGIN, 1))

    def _prepare(self) -> None:
        """Move the cursor to where the last picture ends."""
        width = self._console.width
        if self._picture is not None and width != self._width:
            # the terminal has wrapped the lines of the last picture
            self._stop_picture()
            self._console.control(Control.clear(), Control.home())
            self._lines_to_skip = 0
        self._width = width
        if self._lines_to_skip:
            self._raw(f'\r\x1b[{self._lines_to_skip - 1}A\x1b[J\x1b[1A')
            self._lines_to_skip = 0

    def _stop_picture(self) -> None:
        if self._picture is not None:
            self._picture.stop()
            self._picture = None

    def close(self) -> None:
        """Leave the last picture on the screen, without one before the first step, and warnings."""
        if not self.live:
            return
        self.live = False
        with contextlib.suppress(Exception):  # an error of the run is on its way
            self.refresh()
        self._prepare()
        self._stop_picture()
        if self.state.phase != 'starting' and (self.state.step or self.state.images):
            self._console.print(self._view(messages=False))
        for message in self.state.messages:
            if message.level == _NOTE:
                continue
            self._console.print(f'{message.level.lower()}: {message.text}', markup=False,
                                soft_wrap=True)

    def line(self, text: str) -> None:
        """Write a line where there is no view."""
        if self._shown and not self.live:
            self._console.print(text, markup=False, soft_wrap=True)

    def show_messages(self) -> None:
        """From now on show also messages of less weight, such as a table of scores."""
        self.close()
        self.handler.setLevel(logging.INFO if self._shown else logging.ERROR)

    def add_message(self, level: str, text: str) -> None:
        """Show a message, on a terminal in the next picture."""
        if self.live:
            self.state.messages.append(Message(time.strftime('%H:%M:%S'), level, text))
        elif level == 'INFO':
            self.line(text)
        else:
            with contextlib.suppress(OSError):
                print(f'{level.lower()}: {text}', file=self._errors, flush=True)

    def printed(self, level: int, text: str) -> None:
        """Log a line that the main process of the run has printed."""
        if not self._shown:
            return
        if self._logger is None:
            self._early.append((level, text))
            if level >= logging.WARNING:
                self.add_message(logging.getLevelName(level), text)
        else:
            self._logger.log(level, text)

    def announce(self, text: str) -> None:
        """Show a text at once, from a handler of a signal."""
        if not self.live:
            with contextlib.suppress(OSError):
                os.write(2, f'\n{text}\n'.encode())
            return
        self._raw(f'\r\n{text}\r\n')
        # the terminal has echoed ^C, and wraps the text
        self._lines_to_skip += 1 + -(-len(text) // max(self._width, 1))
        self.state.messages.append(Message(time.strftime('%H:%M:%S'), _NOTE, text))

    def leave(self) -> None:
        """Show the cursor, because the process ends at once."""
        if self.live:
            with contextlib.suppress(OSError):
                os.write(1, _SHOW_CURSOR)

    def _raw(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._console.file.flush()
            os.write(self._console.file.fileno(), text.encode())


class _MessageHandler(logging.Handler):
    """Handler that gives messages to a screen; those of forked processes are left out."""

    def __init__(self, screen: LiveScreen, level: int) -> None:
        super().__init__(level)
        self._screen = screen
        self._process = os.getpid()
        self._filter = ConsoleFilter()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if os.getpid() == self._process and self._filter.filter(record) and not (
                record.levelno == logging.INFO and _LOG_LINE.match(text)):
            self._screen.add_message(record.levelname, text)


class _Lines:
    """Stream that logs the lines that are written to it.

    Of a line that returns to its start, such as a progress bar, the end is logged.
    """

    encoding = 'utf-8'

    def __init__(self, screen: LiveScreen, level: int) -> None:
        self._screen, self._level = screen, level
        self._stream: TextIO = sys.stdout if level == logging.INFO else sys.stderr
        self._rest = ''
        self._busy = False

    def write(self, text: str) -> int:
        """Log the lines that are complete."""
        if self._busy:  # an error of the log itself
            return self._stream.write(text)
        *lines, self._rest = (self._rest + text).split('\n')
        self._busy = True
        try:
            for line in lines:
                line = line.rstrip('\r').rpartition('\r')[2]
                if line.strip():
                    self._screen.printed(self._level, line)
        finally:
            self._busy = False
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def flush(self) -> None:
        """Do nothing: a part of a line is not logged."""

    def isatty(self) -> bool:
        """Progress bars of others are not drawn."""
        return False
