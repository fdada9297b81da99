"""Where messages to the user go: progress of downloads, licenses, notes."""
import contextlib
import sys
from collections.abc import Iterator
from typing import IO

_streams: list[IO[str]] = []


def message_stream() -> IO[str]:
    """Return the stream of :func:`messages_to`, else standard error."""
    return _streams[-1] if _streams else sys.stderr


@contextlib.contextmanager
def messages_to(stream: IO[str]) -> Iterator[None]:
    """Send messages to a stream, e.g. to the screen while standard error goes to a log file.

    Args:
        stream: open for writing text.
    """
    _streams.append(stream)
    try:
        yield
    finally:
        _streams.pop()


def tell(text: str) -> None:
    """Write one line."""
    print(text, file=message_stream(), flush=True)
