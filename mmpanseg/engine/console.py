"""Selection of log messages for the console; the log file contains all of them."""
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

# First words of messages of mmengine that are not relevant to the result of a run. Environment,
# config and hooks fill several screens; the summary before the first step repeats what matters.
_FILE_ONLY = re.compile('|'.join((
    r'\s*-+\nSystem environment:',
    r'Config:\n',
    r'Hooks will be executed in the following order:',
    r'Distributed training is not used, all SyncBatchNorm',
    r'paramwise_options -- ',
    r'Checkpoints will be saved to ',
    r'Loads checkpoint by ',  # the line before or after it names the file as well
    r'Resumed iteration number is not divisible',  # ResumeHook restores the gradients
    r'Auto resumed from the latest checkpoint None',  # PanopticRunner logs a complete warning
    # deprecations inside mmengine, which a user cannot fix
    r'"FileClient" will be deprecated',
    r'"HardDiskBackend" is the alias of')))
_MISMATCH = 'The model and loaded state dict do not match exactly'


class Screen(Protocol):
    """What takes the place of the console while a run has a view, see :func:`screen_in_use`."""

    handler: logging.Handler

    def announce(self, text: str) -> None:
        """Show a text at once, from a handler of a signal."""

    def leave(self) -> None:
        """Leave the terminal as a shell expects it, because the process ends at once."""


_screen: Screen | None = None


@contextmanager
def screen_in_use(screen: Screen) -> Iterator[None]:
    """Give the console messages of the runs that are built within the context to a screen."""
    global _screen
    former, _screen = _screen, screen
    try:
        yield
    finally:
        _screen = former


def replace_console(logger: logging.Logger) -> None:
    """Replace the console of a run's logger by the screen in use, if there is one."""
    if _screen is None or _screen.handler in logger.handlers:
        return
    files = [handler for handler in logger.handlers if isinstance(handler, logging.FileHandler)]
    logger.handlers = [*files, _screen.handler]


def announce(text: str) -> None:
    """Write a line to the console at once; it may interrupt a print, so it uses none."""
    if _screen is not None:
        _screen.announce(text)
        return
    with suppress(OSError):
        os.write(2, f'\n{text}\n'.encode())


def leave_screen() -> None:
    """Leave the terminal as a shell expects it, because the process ends at once."""
    if _screen is not None:
        _screen.leave()


class ConsoleFilter(logging.Filter):
    """Log filter that removes the messages that only the log file contains, but no errors.

    Unused tensors of a pretrained backbone's file (its classifier) are removed; parameters that
    such a file lacks are shown.
    """

    def __init__(self) -> None:
        super().__init__()
        self._hide_mismatch = False

    @contextmanager
    def mismatch_hidden(self) -> Iterator[None]:
        """Remove mmengine's lists of keys that do not match, within the context."""
        self._hide_mismatch = True
        try:
            yield
        finally:
            self._hide_mismatch = False

    def filter(self, record: logging.LogRecord) -> bool:
        """Return True if a record is shown."""
        if record.levelno > logging.WARNING:
            return True
        text = record.getMessage()
        if text.lstrip().startswith(_MISMATCH):
            return not self._hide_mismatch and (
                'missing keys' in text or 'size mismatch' in text)
        return _FILE_ONLY.match(text) is None


def split_messages(printed: str) -> list[str]:
    """Split the output of loading a checkpoint into messages.

    Args:
        printed: everything that mmengine printed.

    Returns:
        The path of the file, and the keys that do not match; either may be absent.
    """
    where, mark, keys = printed.partition(_MISMATCH)
    return [text.strip() for text in (where, mark + keys) if text.strip()]
