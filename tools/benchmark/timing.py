"""Timing of several implementations in alternation, and a table of the results."""
import ctypes
import re
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

# glibc's malloc.h: freed blocks return to the system at once, independent of the environment
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -2, -3, -4
GIVE_BACK = ((M_TRIM_THRESHOLD, 0), (M_TOP_PAD, 0), (M_MMAP_MAX, 1 << 16),
             (M_MMAP_THRESHOLD, 1 << 16))


def default_device() -> str:
    """Return 'cuda' if torch can use a GPU, else 'cpu'."""
    return 'cuda' if torch.cuda.is_available() else 'cpu'


def medians(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Measure the median seconds of functions in alternation; a slow phase affects all alike.

    Args:
        ways: name -> function without arguments. Each is called once before the timing.
        rounds: number of timings of each.

    Returns:
        name -> median seconds.
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
    """Format milliseconds of each function, and the speed-up over the reference, as one line."""
    cells = [f'{name} {1e3 * value:9.1f} ms ({seconds[reference] / value:5.2f}x)'
             for name, value in seconds.items()]
    return f'{title:<40}' + '   '.join(cells)


def memory_growth(function: Callable[[], object]) -> float:
    """Measure the peak memory in MB of a second call minus the memory before it.

    The first call allocates workspaces and caches. On a GPU this is allocated memory; on a CPU
    resident memory, sampled every 2 ms (Linux with glibc).
    """
    if not torch.cuda.is_available():
        # Otherwise memory before the call would include freed blocks.
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
