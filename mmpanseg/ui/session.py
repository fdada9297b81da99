"""What the server keeps for one open page."""
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass, field

import cv2
import numpy as np

from mmpanseg.apis.resized_logits import ResizedLogits
from mmpanseg.results import Result
from mmpanseg.visualization.color import Color


@dataclass
class Frame:
    """An image, or a frame of a video, with its result.

    Attributes:
        result: of the model.
        jpeg: the image at the size of the result, for browsers.
        colors: id of a segment -> its color, in a video.
        seconds: since the start of the video; None for an image.
    """
    result: Result
    jpeg: bytes
    colors: dict[int, Color] | None = None
    seconds: float | None = None

    def pixels(self) -> np.ndarray:
        """Return the image, uint8 RGB [H, W, 3]; that of a frame of a video lost a little."""
        if self.result.image is not None:
            return self.result.image
        decoded = cv2.imdecode(np.frombuffer(self.jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert decoded is not None
        return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)


@dataclass
class Session:
    """An open page.

    Attributes:
        token: secret part of the addresses of its pictures and files.
        data: content of its image file; None before the first one, and with a video.
        name: of its image or video.
        logits: predictions for the image, and the name of the model that made them.
        frames: what it shows: one image, or the frames of a video.
        rate: frames per second of the video.
        version: grows with each image.
    """
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    data: bytes | None = None
    name: str = ''
    logits: tuple[str, ResizedLogits] | None = None
    frames: list[Frame] = field(default_factory=list)
    rate: float = 0.0
    version: int = 0

    def clear(self, name: str = '', data: bytes | None = None) -> None:
        """Forget the image or video, for the next one.

        Args:
            name: of the next one.
            data: content of its file.
        """
        self.name, self.data = name, data
        self.logits, self.frames, self.rate = None, [], 0.0
        self.version += 1


class Sessions:
    """The open pages, the last used ones.

    Args:
        limit: number of pages.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._pages: OrderedDict[str, Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pages)

    def open(self, page: str) -> Session:
        """Return the session of a page, and forget the oldest one if there are too many.

        Args:
            page: key of the page.
        """
        with self._lock:
            session = self._pages.pop(page, None) or Session()
            self._pages[page] = session
            while len(self._pages) > self.limit:
                self._pages.popitem(last=False)[1].clear()
            return session

    def close(self, page: str) -> None:
        """Forget all of a page.

        Args:
            page: key of the page.
        """
        with self._lock:
            session = self._pages.pop(page, None)
        if session is not None:
            session.clear()

    def find(self, token: str) -> Session | None:
        """Return the session with a token; None if its page is closed.

        Args:
            token: of the session.
        """
        with self._lock:
            return next((session for session in self._pages.values()
                         if secrets.compare_digest(session.token.encode(), token.encode())), None)
