"""Tools in processes of their own that do not import torch and mmdet again.

One server per process of pytest has imported what all tools import of other packages. It has one
thread, builds nothing, and forks a process for each request, which then is as a fresh one:
arguments, folder, environment, paths of imports, signals, random generators, open files, session,
exit status, and the interpreter's own end. The rooms of mmpanseg that mmdet does not ask for are
imported by each process, so that an import which a tool forgot is noticed.

With MMPANSEG_FRESH_PROCESSES=1, and where torch finds a GPU, whose state does not survive a fork,
the same functions start fresh processes.
"""
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

ROOT = Path(__file__).resolve().parents[1]
FRESH = 'MMPANSEG_FRESH_PROCESSES'
TIMEOUT = 300.0


class Process:
    """A running tool, the leader of a session; its output goes to files, which are read any time.

    Args:
        command: path of a script, or '-m' and a module, and arguments.
        cwd: its folder (default: the current one).
        env: its environment (default: the current one).
        merged: whether errors go to the same file as output.
        fresh: whether it is started from its executable, like a launcher of others.
    """

    def __init__(self, command: Sequence[object], *, cwd: str | Path | None = None,
                 env: Mapping[str, str] | None = None, merged: bool = False,
                 fresh: bool = False) -> None:
        self.command = [str(word) for word in command]
        self.returncode: int | None = None
        self._stdout = tempfile.TemporaryFile()
        self._stderr = self._stdout if merged else tempfile.TemporaryFile()
        request = dict(command=self.command, cwd=str(cwd or os.getcwd()),
                       env=dict(os.environ if env is None else env))
        start = _start_fresh if fresh or _wants_fresh() else _fork
        self._child = start(request, self._stdout, self._stderr)
        self.pid = self._child.pid

    @property
    def stdout(self) -> str:
        """Output so far, with the errors if they are merged."""
        return _content(self._stdout)

    @property
    def stderr(self) -> str:
        """Errors so far."""
        return _content(self._stderr)

    def poll(self) -> int | None:
        """Exit status as subprocess states it, None while the process runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Exit status.

        Raises:
            subprocess.TimeoutExpired: the process still runs.
        """
        if self.returncode is None:
            self.returncode = self._child.wait(timeout)
        return self.returncode

    def wait_for(self, text: str, timeout: float = TIMEOUT) -> str:
        """Output so far, as soon as it contains a text; fails if the process ends before."""
        end = time.monotonic() + timeout
        while True:
            ended = self.poll() is not None
            output = self.stdout
            if text in output:
                return output
            assert not ended and time.monotonic() < end, f'{text} did not appear in\n{output}'
            time.sleep(0.02)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def send_signal_to_group(self, number: int) -> None:
        """To all processes of its session, as a terminal does; those may live on without it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def kill(self) -> None:
        """Kill it and what it has started, and wait."""
        self.send_signal_to_group(signal.SIGKILL)
        self.wait()


def run(command: Sequence[object], *, cwd: str | Path | None = None,
        env: Mapping[str, str] | None = None, merged: bool = False,
        timeout: float = TIMEOUT) -> subprocess.CompletedProcess:
    """Run a tool to its end, see :class:`Process`; one that is too slow is killed."""
    process = Process(command, cwd=cwd, env=env, merged=merged)
    try:
        status = process.wait(timeout)
    finally:
        if process.returncode is None:
            process.kill()
    return subprocess.CompletedProcess(process.command, status, process.stdout,
                                       '' if merged else process.stderr)


def with_forked_workers(script: str | Path) -> list[str | Path]:
    """Command of a script whose workers are forked, where the script itself is."""
    return [script] if _wants_fresh() else [ROOT / 'tests/forked_workers.py', script]


class _Child(Protocol):
    pid: int

    def wait(self, timeout: float | None) -> int: ...


class _Forked:
    """A process of the server, which writes the exit status into a pipe."""

    def __init__(self, pid: int, status: int) -> None:
        self.pid, self.status = pid, status

    def wait(self, timeout: float | None) -> int:
        if not select.select([self.status], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(f'process {self.pid}', timeout or 0)
        content = os.read(self.status, 4)
        os.close(self.status)
        assert content, 'the server has ended'
        return struct.unpack('i', content)[0]


class _Server:
    """This process's side of the server."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.lock = threading.Lock()
        self.socket, other = socket.socketpair()
        paths = [str(ROOT), *filter(None, [os.environ.get('PYTHONPATH')])]
        # is_available() must not prepare a GPU that the processes use
        env = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTORCH_NVML_BASED_CUDA_CHECK': '1',
               'PYTHONPATH': os.pathsep.join(paths)}
        with other:
            self.process = subprocess.Popen(
                [sys.executable, __file__, str(other.fileno())], pass_fds=[other.fileno()], env=env,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)

    def fork(self, request: dict[str, Any], *files: int) -> int:
        content = json.dumps(request).encode()
        with self.lock:
            socket.send_fds(self.socket, [struct.pack('I', len(content))], files)
            self.socket.sendall(content)
            return struct.unpack('i', _read(self.socket, 4))[0]


_server: _Server | None = None


def _wants_fresh() -> bool:
    import torch
    return os.environ.get(FRESH, '0') != '0' or torch.cuda.is_available()


def _start_fresh(request: dict[str, Any], stdout: IO[bytes], stderr: IO[bytes]) -> _Child:
    return subprocess.Popen([sys.executable, *request['command']], cwd=request['cwd'],
                            env=request['env'], stdin=subprocess.DEVNULL, stdout=stdout,
                            stderr=stderr, start_new_session=True)


def _fork(request: dict[str, Any], stdout: IO[bytes], stderr: IO[bytes]) -> _Child:
    global _server
    if _server is None or _server.pid != os.getpid():
        _server = _Server()  # it ends when this process has ended
    reader, writer = os.pipe()
    try:
        pid = _server.fork(request, stdout.fileno(), stderr.fileno(), writer)
    finally:
        os.close(writer)
    return _Forked(pid, reader)


def _content(file: IO[bytes]) -> str:
    return os.pread(file.fileno(), 1 << 30, 0).decode(errors='replace')


def _read(connection: socket.socket, size: int) -> bytes:
    content = b''
    while len(content) < size:
        part = connection.recv(size - len(content))
        if not part:
            raise EOFError('the other side has ended')
        content += part
    return content


# ------------------------------------------------------------------------------- the server itself

def _import_packages() -> None:
    """All that the tools import of others, in the order of tools/train.py."""
    from mmpanseg.engine import import_mmdet
    import_mmdet()
    from repeated_work import do_once
    do_once()
    importlib.import_module('mmengine.runner.runner').collect_env()
    for name in ('matplotlib.pyplot', 'scipy.optimize', 'torch.distributed', 'mmdet.apis',
                 'mmdet.models', 'mmengine.runner', 'mmengine.visualization'):
        importlib.import_module(name)


def _serve(connection: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Fork a process per request; returns in each of them, and at the end in the server."""
    woken, wake = socket.socketpair()
    for end in (woken, wake):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *args: None)
    signal.set_wakeup_fd(wake.fileno())
    running: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([connection, woken], [], [])
        if woken in ready:
            woken.recv(1 << 16)
            while running:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    break
                with contextlib.suppress(BrokenPipeError):
                    os.write(running[pid], struct.pack('i', os.waitstatus_to_exitcode(status)))
                os.close(running.pop(pid))
        if connection not in ready:
            continue
        header, files, _, _ = socket.recv_fds(connection, 4, 3)
        if not header:
            return None
        request = json.loads(_read(connection, struct.unpack('I', header)[0]))
        pid = os.fork()
        if not pid:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            # ignored in what a shell starts in the background
            signal.signal(signal.SIGINT, signal.default_int_handler)
            for part in (connection, woken, wake):
                part.close()
            for descriptor in [*running.values(), files.pop()]:
                os.close(descriptor)
            return request, files
        running[pid] = files.pop()
        for descriptor in files:
            os.close(descriptor)
        try:
            connection.sendall(struct.pack('i', pid))
        except BrokenPipeError:
            return None


def _become(request: dict[str, Any], files: list[int], paths: list[str]) -> None:
    """Make this process as if Python had just been started in it."""
    os.setsid()
    for descriptor, target in zip(files, (1, 2)):
        os.dup2(descriptor, target)
        os.close(descriptor)
    env = request['env']
    os.environ.clear()
    os.environ.update(env)
    os.chdir(request['cwd'])
    sys.argv = list(request['command'])
    if sys.argv[0] == '-m':
        first, sys.argv = os.getcwd(), sys.argv[1:]
    else:
        first = os.path.dirname(os.path.realpath(sys.argv[0]))
    more = env['PYTHONPATH'].split(os.pathsep) if env.get('PYTHONPATH') else []
    sys.path[:] = dict.fromkeys([first, *map(os.path.abspath, more), *paths])
    importlib.invalidate_caches()
    if env.get('PYTHONUNBUFFERED'):
        sys.stdout.reconfigure(write_through=True)  # type: ignore[union-attr]
    # drawn at the start of each process; random does it after a fork by itself
    sys.modules['numpy'].random.seed()
    sys.modules['torch'].default_generator.seed()
    if env.get('OMP_NUM_THREADS'):
        sys.modules['torch'].set_num_threads(int(env['OMP_NUM_THREADS']))


def _main() -> None:
    # the paths of a process without PYTHONPATH and script
    own = {str(Path(__file__).parent), *map(os.path.abspath, os.environ['PYTHONPATH'].split(
        os.pathsep))}
    paths = [path for path in sys.path if path not in own]
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        with warnings.catch_warnings():
            _import_packages()
        sys.path.remove(str(Path(__file__).parent))
        gc.freeze()  # a collection would write into every page that the processes share
        work = _serve(connection)
    if work is None:
        return
    request, files = work
    is_module = request['command'][0] == '-m'
    _become(request, files, paths)
    if is_module:
        runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)
    else:
        runpy.run_path(sys.argv[0], run_name='__main__')


if __name__ == '__main__':
    _main()
