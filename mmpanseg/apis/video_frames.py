"""Frames of a video file, one after the other."""
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from mmpanseg.apis.predictor_errors import PredictorError

VIDEO_SUFFIXES = ('.mp4', '.m4v', '.mov', '.avi', '.mkv', '.webm', '.wmv', '.mpg', '.mpeg', '.flv',
                  '.ts')


class VideoError(PredictorError):
    """A video cannot be read; the text names it."""


class VideoFrames:
    """Iterates over the frames of a video file.

    One frame is in memory at a time. Each iteration reads the file from its start.

    Args:
        path: of the file.
        every: yield only every n-th frame, from the first one on.

    Attributes:
        path: of the file, as text.
        every: see the arguments.
        rate: frames per second of the file; 0 if it does not tell.
        size: (H, W) of the first frame in pixels.
        count: number of frames in the file as its header tells, 0 if it does not. Damaged files
            have fewer.

    Raises:
        FileNotFoundError: there is no such file.
        VideoError: the file is no video, or has no frame that can be decoded.
        ValueError: ``every`` is less than 1.
    """

    def __init__(self, path: str | os.PathLike, every: int = 1) -> None:
        self.path, self.every = os.fspath(path), every
        if every < 1:
            raise ValueError(f'every={every} must be at least 1')
        if not Path(self.path).is_file():
            raise FileNotFoundError(f'no video found at {self.path}: give an existing video file')
        capture = self._open()
        try:
            found, first = capture.read()
            if not found:
                raise VideoError(f'{self.path} has no frame that can be decoded: the file is empty '
                                 'or damaged')
            self.size = first.shape[:2]
            self.rate = max(0.0, float(capture.get(cv2.CAP_PROP_FPS)))
            self.count = max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        finally:
            capture.release()

    def __len__(self) -> int:
        """Return the number of frames that an iteration yields, as the header tells."""
        return -(-self.count // self.every)

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the index of each frame in the file, from 0, and its pixels, BGR uint8 [H, W, 3].

        Frames that are left out are not decoded to pixels.
        """
        capture = self._open()
        try:
            index = 0
            while capture.grab():
                if index % self.every == 0:
                    found, frame = capture.retrieve()
                    if not found:
                        return
                    yield index, frame
                index += 1
        finally:
            capture.release()

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(self.path)
        if not capture.isOpened():
            capture.release()
            raise VideoError(f'{self.path} cannot be read as a video: the file is empty, damaged, '
                             'no video, or in a format that OpenCV does not decode')
        return capture


def is_video(path: str | os.PathLike) -> bool:
    """Whether a path has a suffix of video files."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES
