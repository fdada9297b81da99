"""Time several ways to do the same thing, in turns, and print them side by side."""
import ctypes
import re
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

# glibc's malloc.h: freed blocks go back to the system at once, whatever the environment says
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -2, -3, -4
GIVE_BACK = ((M_TRIM_THRESHOLD, 0), (M_TOP_PAD, 0), (M_MMAP_MAX, 1 << 16),
             (M_MMAP_THRESHOLD, 1 << 16))


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
    return f'{title:<40}' + '   '.join(cells)


def memory_growth(function: Callable[[], object]) -> float:
    """Megabytes that a second call needs at its peak beyond what was in use before it.

    The first call is for what stays: workspaces, caches. On a GPU this is allocated memory; on a
    CPU resident memory, sampled every few milliseconds (Linux with glibc).
    """
    if not torch.cuda.is_available():
        # so that "in use before" means in use
        for parameter, value in GIVE_BACK:
            ctypes.CDLL(None).mallopt(parameter, value)
    function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    before, peak, done = _resident(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            peak[0] = max(peak[0], _resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    function()
    done.set()
    watcher.join()
    return peak[0] - before


def _resident() -> float:
    status = Path('/proc/self/status').read_text()
    return int(re.search(r'VmRSS:\s+(\d+)', status)[1]) / 2**10


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
