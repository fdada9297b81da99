"""Time several ways to do the same thing, in turns, and print them side by side."""
import statistics
import time
from typing import Callable, Mapping

import torch


def medians(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each way; the ways take turns, so a slow spell meets all of them.

    Args:
        ways: name -> function without arguments. Each runs once before the clock starts.
        rounds: how often each one is timed.
    """
    times: dict[str, list[float]] = {name: [] for name in ways}
    for function in ways.values():
        function()
    for _ in range(rounds):
        for name, function in ways.items():
            _wait()
            start = time.perf_counter()
            function()
            _wait()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def row(title: str, seconds: Mapping[str, float], reference: str) -> str:
    """One line of a table: milliseconds of each way and how much longer the reference takes."""
    cells = [f'{name} {1e3 * value:9.1f} ms ({seconds[reference] / value:5.2f}x)'
             for name, value in seconds.items()]
    return f'{title:<34}' + '   '.join(cells)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
