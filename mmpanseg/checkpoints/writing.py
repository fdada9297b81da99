"""Writing of checkpoint files that are complete or are not there."""
from pathlib import Path
from typing import IO, Any

import torch

from mmpanseg.utils.atomic_files import replaced_file


def write_checkpoint(content: dict[str, Any], path: str | Path) -> None:
    """Write a file of ``torch.save`` beside its path, flush it, and rename it.

    Args:
        content: content of the checkpoint.
        path: the file; its folder exists.

    Raises:
        FileWriteError: the disk is full or read-only; an earlier file remains.
    """
    with replaced_file(path) as partial, open(partial, 'wb') as file:
        recorder = _Recorder(file)
        try:
            torch.save(content, recorder)
        except RuntimeError:  # of torch, without a reason
            if recorder.error is not None:
                raise recorder.error from None
            raise


class _Recorder:
    """File that remembers the error that torch hides."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, part: bytes) -> int:
        """Write a part of the content."""
        try:
            return self._file.write(part)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        """Write what is buffered."""
        self._file.flush()
