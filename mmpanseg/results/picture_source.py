"""The image of a result, which result and segments share."""
from pathlib import Path

import numpy as np

from mmpanseg.structures.sample_image import read_sample_image


class PictureSource:
    """An image, or the path that it is read from when it is needed.

    Args:
        size: (H, W) that it must have.
        pixels: uint8 RGB [H, W, 3].
        path: file or URL.
        orientation: EXIF orientation that was applied to the network's input (default: that of the
            file).
        drawn: channels to draw, as :class:`mmpanseg.datasets.LoadChannels` records them.

    Raises:
        ValueError: the array is no image of this size.
    """

    def __init__(self, size: tuple[int, int], pixels: np.ndarray | None = None,
                 path: str | Path | None = None, orientation: int | None = None,
                 drawn: dict | None = None) -> None:
        self.size = size
        self.path = None if path is None else str(path)
        self.orientation, self.drawn = orientation, drawn
        self._pixels: np.ndarray | None = None
        self.set(pixels)

    def set(self, pixels: np.ndarray | None) -> None:
        """Replace the image; None: it is read from the path.

        Raises:
            ValueError: the array is no image of this size.
        """
        if pixels is not None:
            pixels = np.asarray(pixels)
            if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
                raise ValueError(f'image must be uint8 RGB [H, W, 3], got {pixels.dtype} '
                                 f'{list(pixels.shape)}: convert it')
            self._check_size(pixels, 'image')
        self._pixels = pixels

    def read(self) -> np.ndarray | None:
        """Return the image, uint8 RGB [H, W, 3]; None without array and path.

        Raises:
            ImageError: the file is no image.
            OSError: the file cannot be read.
            ValueError: it has another size.
        """
        if self._pixels is None and self.path is not None:
            sample = dict(img_path=self.path, img_orientation=self.orientation,
                          drawn_channels=self.drawn)
            pixels = read_sample_image(sample)
            self._check_size(pixels, self.path)
            self._pixels = pixels
        return self._pixels

    def need(self) -> np.ndarray:
        """Return the image.

        Raises:
            ValueError: there is none; and as :meth:`read`.
        """
        pixels = self.read()
        if pixels is None:
            raise ValueError('the result has no image: give one with Result(image=...) or '
                             'Result(path=...), or set result.image to an RGB array')
        return pixels

    def _check_size(self, pixels: np.ndarray, name: str) -> None:
        if pixels.shape[:2] != self.size:
            raise ValueError(
                f'{name} has {pixels.shape[0]} x {pixels.shape[1]} pixels (height x width), the '
                f'result {self.size[0]} x {self.size[1]}: give the image that was predicted')
