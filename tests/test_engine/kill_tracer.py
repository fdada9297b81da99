"""A function in forked processes, each of which is killed at another of its file operations."""
import builtins
import io
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

# Parts of a write that reach the disk before the kill.
TORN = (0.0, 0.01, 0.5, 0.99, 1.0)
_CHANGES = {'os.rename': 'rename', 'os.remove': 'remove', 'os.mkdir': 'mkdir',
            'os.truncate': 'truncate', 'shutil.rmtree': 'rmtree', 'os.link': 'link'}


def kill_at_each_operation(function: Callable[[], None], folder: Path,
                           reset: Callable[[], None]) -> Iterator[tuple[int, str]]:
    """Kill a process at its first, second, ... file operation below a folder.

    Args:
        function: what the process does.
        folder: operations elsewhere are not counted.
        reset: called before each process, restores the folder.

    Yields:
        number and name of the operation, after the process was killed before (or, of a write, in
        the middle of) it; the last one is 'end', of a process that was not killed.
    """
    number = 0
    while True:
        reset()
        number += 1
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.close(reader)
            _run(function, str(folder), number, writer)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            names = [json.loads(line) for line in pipe]
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            assert os.WTERMSIG(status) == signal.SIGKILL
            yield number, names[-1]
            continue
        assert os.WEXITSTATUS(status) == 0, 'the function failed in the process'
        yield number, 'end'
        return


def _run(function: Callable[[], None], folder: str, target: int, pipe: int) -> None:
    """Run the function in this process until its operation of a number."""
    count = 0

    def happens(name: str, path: object, before: Callable[[], None] = lambda: None) -> None:
        nonlocal count
        if isinstance(path, (str, os.PathLike)) and str(path).startswith(folder):
            count += 1
            os.write(pipe, f'{json.dumps(f"{name} {Path(path).name}")}\n'.encode())
            if count == target:
                before()
                os.kill(os.getpid(), signal.SIGKILL)

    def audit(event: str, arguments: tuple) -> None:
        if event == 'open' and isinstance(arguments[2], int) and arguments[2] & os.O_ACCMODE:
            happens('open', arguments[0])
        elif event in _CHANGES:
            happens(_CHANGES[event], arguments[1 if event == 'os.rename' else 0])

    class TornFile(io.BufferedWriter):
        def write(self, content):
            data = memoryview(content).cast('B')

            def put(part):
                super(TornFile, self).write(data[:int(len(data) * part)])
                self.flush()
            for part in TORN:
                happens(f'write {part:.0%} of', self.raw.name, lambda part=part: put(part))
            return super().write(content)

    plain_open, plain_fsync = builtins.open, os.fsync

    def open_torn(file, mode='r', *args, **kwargs):
        if mode == 'wb':
            return TornFile(io.FileIO(file, 'wb'))
        opened = plain_open(file, mode, *args, **kwargs)
        if 'w' in mode and 'b' not in mode:
            plain_write = opened.write

            def write(text):
                happens('write', file)
                return plain_write(text)
            opened.write = write
        return opened

    def fsync(descriptor):
        happens('fsync', os.readlink(f'/proc/self/fd/{descriptor}'))
        plain_fsync(descriptor)

    status = 1
    try:
        builtins.open, os.fsync = open_torn, fsync
        sys.addaudithook(audit)
        function()
        status = 0
    except BaseException as error:
        os.write(2, f'{type(error).__name__}: {error}\n'.encode())
    finally:
        os._exit(status)
