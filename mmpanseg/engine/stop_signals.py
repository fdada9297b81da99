"""Signals that end a training: after the current step, with a checkpoint."""
import mmap
import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

import torch
import torch.distributed as dist
from mmengine.dist import get_world_size
from torch import Tensor

from mmpanseg.engine.console import announce

# Ctrl-C; the end of a job; Slurm's notice before the end (--signal=USR1@120).
_SIGNALS = [getattr(signal, name) for name in ('SIGINT', 'SIGTERM', 'SIGUSR1')
            if hasattr(signal, name)]
# torchrun forwards the Ctrl-C that a terminal sends to all processes: seconds in which a second
# signal is the same one.
_ECHO = 1.0
# Seconds after which a worker of a data loader obeys SIGTERM also during a training.
_WORKER_GRACE = 600
# Shared with forked workers: whether their main process trains, and ends them itself.
_training = mmap.mmap(-1, 1)
# Steps between two questions where processes have no group without GPU.
_SLOW_INTERVAL = 10


class TrainingStopped(SystemExit):
    """The end of a training by a signal; the exit status is 128 + its number (Ctrl-C 130)."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)


class StopSignals:
    """Handlers of SIGINT, SIGTERM and SIGUSR1 within a context.

    The first signal is remembered. The same one again ends the process at once, as does any before
    the first step (:attr:`training`). Outside the main thread signals are not handled.

    Args:
        at_once: called before the process ends at once.
    """

    def __init__(self, at_once: Callable[[], None] = lambda: None) -> None:
        self.received = 0
        self.training = False
        self._at_once = at_once
        self._seen: dict[int, float] = {}
        self._process = os.getpid()
        self._former: dict[int, Any] = {}

    def __enter__(self) -> 'StopSignals':
        global _current
        if threading.current_thread() is threading.main_thread():
            self._former = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        _current = self
        _training[0] = 1
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        global _current
        _current = None
        _training[0] = 0
        for number, handler in self._former.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return  # a worker of a data loader: the main process ends it
        if not self.training:
            raise TrainingStopped(number)
        now, first = time.monotonic(), self._seen.get(number)
        self._seen.setdefault(number, now)
        if first is not None:
            if 'TORCHELASTIC_RUN_ID' in os.environ and now - first < _ECHO:
                return
            self._at_once()
            os._exit(128 + number)
        self.received = self.received or number
        if os.environ.get('RANK', '0') == '0':
            announce(f'{signal.Signals(number).name}: the training stops after this step and '
                     'writes a checkpoint; the same signal again stops it at once')


_current: StopSignals | None = None


def current_signals() -> StopSignals | None:
    """Return the handlers of the running training; None outside of one."""
    return _current


class StopAgreement:
    """One decision of all processes to stop, at the same step.

    Each call sends the signal of this process to the others and returns what the call before has
    received, so that no step waits for messages. They go over a group of the CPU, without waiting
    for a GPU. Where such a group cannot be created, every tenth call waits.
    """

    def __init__(self) -> None:
        self._group: Any = None
        self._device = torch.device('cpu')
        self._calls = 0
        self._sent: tuple[Any, Tensor] | None = None
        self._processes = 1

    def ask(self, number: int) -> int:
        """Return the signal that all processes obey now, 0 for none.

        Args:
            number: signal that this process received, 0 for none.
        """
        if self._processes == 1:
            return number
        if self._group is None:
            self._calls += 1
            if self._calls % _SLOW_INTERVAL:
                return 0
            return self._reduce(number, dist.ReduceOp.MAX)
        agreed = 0
        if self._sent is not None:
            work, received = self._sent
            work.wait()
            agreed = int(received)
        message = torch.tensor(number)
        work = dist.all_reduce(message, dist.ReduceOp.MAX, group=self._group, async_op=True)
        self._sent = work, message
        return agreed

    def smallest(self, count: int) -> int:
        """Return the smallest of a count of each process."""
        return count if self._processes == 1 else self._reduce(count, dist.ReduceOp.MIN)

    def wait(self) -> None:
        """Wait for all processes."""
        self.smallest(0)

    def _reduce(self, number: int, operation: Any) -> int:
        message = torch.tensor(number, device=self._device)
        dist.all_reduce(message, operation, group=self._group)
        return int(message)

    def connect(self) -> None:
        """Create the group of all processes; each of them calls this."""
        self._processes = get_world_size()
        if self._processes == 1 or self._group is not None:
            return
        try:
            group = dist.new_group(backend='gloo')
        except RuntimeError:
            group = None
        if dist.get_backend() != 'gloo':
            self._device = torch.device('cuda', torch.cuda.current_device())
        if self._reduce(int(group is not None), dist.ReduceOp.MIN):
            self._group, self._device = group, torch.device('cpu')


class WorkerInit:
    """Initialization of a worker of a data loader: signals to all processes do not end it.

    A terminal and Slurm send signals to the workers as well. They end with the main process.

    Args:
        init: former initialization, called with the number of the worker; None for none.
    """

    def __init__(self, init: Callable[[int], None] | None) -> None:
        self._init = init

    def __call__(self, worker: int) -> None:
        """Set the handlers of a worker."""
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        if hasattr(signal, 'SIGALRM'):
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.signal(signal.SIGTERM, _end_later)
        if self._init is not None:
            self._init(worker)


def _end_later(number: int, frame: FrameType | None) -> None:
    """Obey SIGTERM, but not during a training; multiprocessing sends it at the end of one."""
    if _training[0]:
        signal.alarm(_WORKER_GRACE)
        return
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
