"""Decisions of the main process that all processes of a run follow."""
from collections.abc import Callable
from typing import Any, TypeVar

from mmengine.dist import broadcast_object_list, is_main_process

from mmpanseg.engine.command_line import UsageError, one_line

T = TypeVar('T')


def decide_on_main(decide: Callable[[], T]) -> T:
    """Call a function on the main process; every process receives its result or its error.

    If only the main process stopped, the others would wait for it until a timeout.

    Args:
        decide: function; its result can be pickled.

    Returns:
        The result.

    Raises:
        UsageError: on every process, if the function raises it, or an OSError.
    """
    outcome: list[Any] = [None, None]
    if is_main_process():
        try:
            outcome[0] = decide()
        except (UsageError, OSError) as error:
            outcome[1] = one_line(error) if isinstance(error, OSError) else str(error)
    broadcast_object_list(outcome)
    if outcome[1] is not None:
        raise UsageError(outcome[1])
    return outcome[0]
