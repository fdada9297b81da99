"""Writing of checkpoint files that are complete or are not there."""
import io
from pathlib import Path
from typing import Any

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
    with replaced_file(path) as partial, _RecordingWriter(io.FileIO(partial, 'wb')) as file:
        try:
            torch.save(content, file)
        except RuntimeError:  # of torch, without a reason
            if file.error is not None:
                raise file.error from None
            raise


class _RecordingWriter(io.BufferedWriter):
    """File that remembers the error that torch hides."""

    error: OSError | None = None

    def write(self, part: Any, /) -> int:
        """Write a part of the content."""
        try:
            return super().write(part)
        except OSError as error:
            self.error = error
            raise
