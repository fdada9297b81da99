"""What the command writes: results to stdout, messages to stderr, start-up noise to a log file."""
from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO, cast

import click

from mmpanseg.engine.command_line import mistake_text
from mmpanseg.utils.cache_folder import cache_folder
from mmpanseg.utils.messages import messages_to

if TYPE_CHECKING:
    from rich.console import Console

LOGS_KEPT = 20
# stdout and stderr of the user, while quiet_start() replaces those of Python
_screen: list[tuple[TextIO, TextIO]] = []


def console(stderr: bool = False) -> Console:
    """Create a rich console that writes to the user's screen, also inside :func:`quiet_start`.

    Args:
        stderr: write messages (progress, warnings) instead of results.

    Returns:
        The console. Its output is plain text where it is not a terminal.
    """
    from rich.console import Console

    streams = _screen[-1] if _screen else (None, None)
    return Console(file=streams[stderr], stderr=stderr, highlight=False, soft_wrap=True)


def fail(text: str, status: int = 1) -> NoReturn:
    """End the verb with one line ``mmpanseg VERB: error: text``.

    Args:
        text: what is wrong and how to fix it.
        status: exit status; 2 for a mistake in the command line.

    Raises:
        SystemExit: always.
    """
    ctx = click.get_current_context(silent=True)
    _end(ctx.command_path if ctx is not None else 'mmpanseg', text, status)


def _end(name: str, text: str, status: int) -> NoReturn:
    stream = _screen[-1][1] if _screen else sys.stderr
    print(f'{name}: error: {" ".join(text.split())}', file=stream)
    sys.exit(status)


@contextlib.contextmanager
def error_handling(name: Callable[[], str] = lambda: 'mmpanseg') -> Iterator[None]:
    """End a mistake of the user in one line: status 1, for the command line itself 2, Ctrl-C 130.

    Other errors are bugs and keep their traceback.

    Args:
        name: returns the command, with which the line begins.

    Raises:
        SystemExit: in place of the error.
    """
    try:
        yield
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx is not None else name()
        text = error.format_message().rstrip('.')
        _end(path, f'{text} (see {path} --help)', 2)
    except click.ClickException as error:
        _end(name(), error.format_message(), error.exit_code)
    except Exception as error:
        mistake = mistake_text(error)
        if mistake is None:
            raise
        _end(name(), mistake, 1)


@contextlib.contextmanager
def quiet_start(verb: str = 'mmpanseg') -> Iterator[Path]:
    """Write what imports and libraries print, warn and log to a file.

    :func:`console` and :func:`fail` reach the screen inside. The file stays open after the
    context: loggers that mmengine created inside keep writing to it.

    Args:
        verb: first part of the name of the log file.

    Yields:
        Path of the log file.
    """
    log = _open_log(verb)
    print(' '.join(sys.argv), file=log, flush=True)
    _screen.append(_screen[-1] if _screen else (sys.stdout, sys.stderr))
    handlers = _stream_handlers()
    streams = [handler.stream for handler in handlers]
    try:
        for handler in handlers:
            handler.setStream(log)
        with (contextlib.redirect_stdout(log), contextlib.redirect_stderr(log),
              messages_to(_screen[-1][1])):
            yield Path(log.name)
    finally:
        _screen.pop()
        for handler, stream in zip(handlers, streams):
            handler.setStream(stream)
        log.flush()


def _stream_handlers() -> list[logging.StreamHandler]:
    """Handlers that write to the screen, of Python's and of mmengine's loggers."""
    loggers: list[Any] = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    engine = sys.modules.get('mmengine.logging')
    if engine is not None:
        loggers += engine.MMLogger._instance_dict.values()
    found = {handler: None for logger in loggers for handler in getattr(logger, 'handlers', ())
             if isinstance(handler, logging.StreamHandler)
             and handler.stream in (sys.stdout, sys.stderr)}
    return list(found)


def log_folder() -> Path:
    """Return the folder of log files, ``logs`` in the cache folder."""
    return cache_folder() / 'logs'


def _open_log(verb: str) -> TextIO:
    """Create a log file; a temporary one where the folder cannot be written."""
    name = f'{verb}-{time.strftime("%Y%m%d-%H%M%S")}-{os.getpid()}.log'
    try:
        folder = log_folder()
        folder.mkdir(parents=True, exist_ok=True)
        for old in sorted(folder.glob('*.log'), key=os.path.getmtime)[:1 - LOGS_KEPT]:
            old.unlink(missing_ok=True)
        return open(folder / name, 'a', encoding='utf-8', buffering=1)
    except OSError:
        return cast(TextIO, tempfile.NamedTemporaryFile(
            'w', prefix='mmpanseg-', suffix='.log', delete=False, encoding='utf-8', buffering=1))
