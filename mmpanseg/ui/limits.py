"""Limits of what the page accepts."""
from dataclasses import dataclass
from pathlib import Path

from mmpanseg.structures.image_file import read_header
from mmpanseg.utils.atomic_files import readable_size


class InputError(ValueError):
    """An input that the page refuses; its text is a message to the person who uses it."""


@dataclass(frozen=True)
class Limits:
    """What one input may have.

    Attributes:
        num_bytes: bytes of a file.
        pixels: pixels of an image or of a frame.
        seconds: length of a video.
        frames: frames of a video that are predicted; of longer ones every n-th is.
        mask_bytes: bytes of kept masks of one page.
        pages: open pages whose images are kept; the one that was not used for the longest time
            loses its image.
    """
    num_bytes: int = 50_000_000
    pixels: int = 40_000_000
    seconds: float = 20
    frames: int = 60
    mask_bytes: int = 1 << 28
    pages: int = 8

    def check_bytes(self, count: int, name: str) -> None:
        """Refuse an empty file and one that is too large.

        Args:
            count: bytes of the file.
            name: of the file.

        Raises:
            InputError: see above.
        """
        if not count:
            raise InputError(f'{name} is empty.')
        if count > self.num_bytes:
            raise InputError(f'{name} has {readable_size(count)}, more than the limit of '
                             f'{readable_size(self.num_bytes)} (option --max-mb of the server). '
                             'Choose a smaller file.')

    def check_image(self, data: bytes, name: str) -> None:
        """Refuse an image that is too large, by its header, before it is decoded.

        Args:
            data: content of the file.
            name: of the file.

        Raises:
            InputError: it has too many bytes or pixels, or is no image at all.
        """
        self.check_bytes(len(data), name)
        header = read_header(data)
        if header is None:
            raise InputError(f'{name} is no image that can be read. JPEG, PNG, WebP, TIFF and BMP '
                             'files can.')
        self.check_pixels(header.size, name)

    def check_pixels(self, size: tuple[int, int], name: str) -> None:
        """Refuse an image or a frame that is too large.

        Args:
            size: (H, W).
            name: of the file.

        Raises:
            InputError: it has too many pixels.
        """
        height, width = size
        if height * width > self.pixels:
            raise InputError(
                f'{name} has {width} x {height} pixels, {height * width / 1e6:.0f} million; the '
                f'limit is {self.pixels / 1e6:.0f} million. Make the image smaller.')

    def check_video(self, rate: float, count: int, name: str) -> None:
        """Refuse a video that is too long.

        Args:
            rate: frames per second; 0 if unknown.
            count: number of frames; 0 if unknown.
            name: of the file.

        Raises:
            InputError: it takes too many seconds.
        """
        if rate > 0 and count / rate > self.seconds:
            raise InputError(f'{name} takes {count / rate:.0f} s, the limit is {self.seconds:g} s. '
                             'Cut a part out of it.')


def shown_name(path: str) -> str:
    """Name of a file as messages and exports have it: without folders.

    Args:
        path: of any system.
    """
    return Path(path.replace('\\', '/')).name or 'image'
