"""Logs and curves whose disk is full: a warning, but the training goes on."""
import contextlib
import functools
import logging
import sys
from collections.abc import Callable
from typing import Any

from mmengine.visualization import Visualizer

from mmpanseg.engine.command_line import one_line

_METHODS = ('add_config', 'add_graph', 'add_image', 'add_scalar', 'add_scalars', 'close')


def tolerate_log_errors(logger: logging.Logger) -> None:
    """Continue without a log whose file cannot be written.

    Python's default prints a traceback for every message.

    Args:
        logger: with all of its handlers.
    """
    for handler in logger.handlers:
        if hasattr(handler, 'stream'):
            vars(handler)['handleError'] = _Once(handler)


class _Once:
    """Reports the first error of a log handler on stderr."""

    def __init__(self, handler: logging.Handler) -> None:
        self._handler = handler
        self._reported = False

    def __call__(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            logging.Handler.handleError(self._handler, record)
        elif not self._reported:
            self._reported = True
            name = getattr(self._handler, 'baseFilename', 'the output')
            with contextlib.suppress(OSError):
                print(f'warning: cannot write {name} ({one_line(error)}): messages are lost',
                      file=sys.stderr)


def tolerate_curve_errors(visualizer: Visualizer, logger: logging.Logger) -> None:
    """Continue without curves and pictures that a backend cannot write.

    Args:
        visualizer: with all of its backends, which are changed in place.
        logger: receives one warning for each backend.
    """
    for backend in visualizer._vis_backends.values():
        reported: list[bool] = []
        for name in _METHODS:
            method = getattr(backend, name, None)
            if method is not None:
                setattr(backend, name, _tolerant(method, backend, reported, logger))


def _tolerant(method: Callable[..., Any], backend: Any, reported: list[bool],
              logger: logging.Logger) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except OSError as error:
            if not reported:
                reported.append(True)
                logger.warning(
                    f'{type(backend).__name__} cannot write to '
                    f'{getattr(backend, "_save_dir", "its server")} ({one_line(error)}): the '
                    'training goes on, its curves are incomplete')
            return None
    return call
