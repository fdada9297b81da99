"""A command in a pseudo terminal, whose screen a terminal emulator keeps."""
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pyte


class Terminal:
    """A running command and its screen.

    Attributes:
        written: everything that the command wrote.
    """

    def __init__(self, command: Sequence[str], cwd: Path, width: int = 120, height: int = 40,
                 **env: str) -> None:
        self._main, other = pty.openpty()
        self._screen = pyte.HistoryScreen(width, height, history=5000)
        self._stream = pyte.ByteStream(self._screen)
        self.resize(width, height)
        kept = {key: value for key, value in os.environ.items()
                if key not in ('COLUMNS', 'LINES', 'NO_COLOR', 'FORCE_COLOR', 'CI')}
        self.process = subprocess.Popen(
            list(map(str, command)), cwd=cwd, stdin=other, stdout=other, stderr=other,
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env={**kept, 'TERM': 'xterm-256color', **env})
        os.close(other)
        self.written = b''

    def resize(self, width: int, height: int) -> None:
        """Change the size of the window."""
        fcntl.ioctl(self._main, termios.TIOCSWINSZ, struct.pack('HHHH', height, width, 0, 0))
        self._screen.resize(height, width)

    def read(self, seconds: float) -> bool:
        """Read for some time; False once the command has closed its terminal."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if not select.select([self._main], [], [], left)[0]:
                break
            try:
                data = os.read(self._main, 1 << 16)
            except OSError:
                data = b''
            if not data:
                return False
            self.written += data
            self._stream.feed(data)
        return True

    def wait_for(self, condition: Callable[[str], bool], seconds: float = 120) -> str:
        """Read until the screen fulfills a condition; its text."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            goes_on = self.read(0.1)
            if condition(self.text):
                return self.text
            assert goes_on, f'the command has ended:\n{self.text}'
        raise AssertionError(f'not within {seconds} s:\n{self.text}')

    def wait(self, seconds: float = 180) -> int:
        """Read to the end; the exit status."""
        end = time.monotonic() + seconds
        while self.read(0.5) and time.monotonic() < end:
            pass
        return self.process.wait(max(end - time.monotonic(), 1))

    def press_ctrl_c(self) -> None:
        """Type Ctrl-C: the terminal sends SIGINT to its processes."""
        os.write(self._main, b'\x03')

    def close(self) -> None:
        """End the command if it still runs."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        os.close(self._main)

    @property
    def lines(self) -> list[str]:
        """Lines of the screen, without blanks at their ends."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def history(self) -> list[str]:
        """Lines that have left the screen at its top."""
        return [''.join(line[column].data for column in range(self._screen.columns)).rstrip()
                for line in self._screen.history.top]

    @property
    def text(self) -> str:
        """Text of the screen."""
        return '\n'.join(self.lines).rstrip()

    @property
    def screen(self) -> pyte.Screen:
        """The emulator's screen with its colors."""
        return self._screen
