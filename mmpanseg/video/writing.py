"""Video files that are complete or absent."""
import contextlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from mmpanseg.utils.atomic_files import FileWriteError, result_file

# of files that do not tell their frame rate
DEFAULT_RATE = 25.0


class VideoWriter:
    """Encodes frames as MPEG-4 in an MP4 file, which every build of OpenCV can do.

    Args:
        path: file to write; its folder exists.
        rate: frames per second; 0 for 25.
        name: name of the file in error texts (default: its path).

    Attributes:
        count: number of frames until now.
        size: (H, W) of the video. A last row or column is repeated where the frames have an odd
            number of them, because the format has none. (0, 0) before the first frame.
    """

    def __init__(self, path: Path, rate: float, name: str = '') -> None:
        self.path, self.rate = path, rate if rate > 0 else DEFAULT_RATE
        self.name = name or str(path)
        self.count, self.size = 0, (0, 0)
        self._writer: cv2.VideoWriter | None = None

    def write(self, frame: np.ndarray) -> None:
        """Append a frame.

        Args:
            frame: uint8 RGB [H, W, 3], of the same size for all frames.

        Raises:
            FileWriteError: the file cannot be created.
            ValueError: the frame has another size than the first one.
        """
        height, width = frame.shape[:2]
        size = height + height % 2, width + width % 2
        if self._writer is None:
            self.size = size
            self._writer = cv2.VideoWriter(
                str(self.path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*'mp4v'), self.rate,
                size[::-1])
            if not self._writer.isOpened():
                raise FileWriteError(f'cannot write {self.name}: {self._reason()}')
        if size != self.size:
            raise ValueError(f'a frame of {width}x{height} pixels is in a video of '
                             f'{self.size[1]}x{self.size[0]} pixels')
        frame = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
        if size != (height, width):
            frame = cv2.copyMakeBorder(frame, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        self._writer.write(frame)
        self.count += 1

    def _reason(self) -> str:
        """Why OpenCV, which does not tell, could not create the file."""
        try:
            with open(self.path, 'wb'):
                return (f'OpenCV cannot encode a video of {self.size[1]}x{self.size[0]} pixels '
                        f'with {self.rate:g} frames per second')
        except OSError as error:
            return (error.strerror or str(error)).lower()

    def close(self) -> None:
        """Complete the file."""
        if self._writer is not None:
            self._writer.release()
            self._writer = None

    def is_complete(self) -> bool:
        """Whether the closed file has all frames; OpenCV does not tell when writing fails."""
        capture = cv2.VideoCapture(str(self.path))
        try:
            return (capture.isOpened()
                    and int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == self.count)
        finally:
            capture.release()


@contextlib.contextmanager
def video_file(path: str | Path, rate: float) -> Iterator[VideoWriter]:
    """Write a video; after an exception or on a full disk nothing of it remains.

    Args:
        path: of the file, which ends in .mp4; missing folders are created.
        rate: frames per second; 0 for 25.

    Yields:
        Writer of the frames.

    Raises:
        FileWriteError: the file cannot be written.
    """
    with result_file(path) as part:
        writer = VideoWriter(part, rate, str(path))
        try:
            yield writer
        finally:
            writer.close()
        if not writer.is_complete():
            raise FileWriteError(f'cannot write {path}: the file of {writer.count} frames is not '
                                 'complete; is the disk full?')
