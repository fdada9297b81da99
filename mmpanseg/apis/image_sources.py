"""Sources of a predictor: files, folders, URLs, arrays, tensors, videos, and lists of these."""
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mmpanseg.apis.image_inputs import find_files
from mmpanseg.apis.predictor_errors import FailedInput, PredictorError
from mmpanseg.apis.video_frames import VideoFrames, is_video
from mmpanseg.datasets.transforms.loading_images import check_array
from mmpanseg.structures.image_channels import CHANNELS, swap_red_and_blue
from mmpanseg.structures.image_file import ARRAY_SUFFIXES, IMAGE_SUFFIXES

CHANNEL_ORDERS = ('rgb', 'bgr')
TENSORS = ('torch tensors [3, H, W] or [N, 3, H, W], uint8 or floats in 0..1')
_FOLDED = ('image files, folders, glob patterns, URLs and videos (str or Path), {arrays}, '
           f'{TENSORS}, PIL images, bytes and open files of encoded images, and lists of these')

Content = str | bytes | np.ndarray | Image.Image


@dataclass(frozen=True)
class SourceImage:
    """One image of a source.

    Attributes:
        name: path, URL or description, for error texts; of a frame, VIDEO#INDEX.
        content: path or URL, encoded bytes, PIL image, or pixels as a loader returns them (BGR).
        path: path or URL; None for images in memory and for frames.
        frame: index of a frame in its video; None otherwise.
    """
    name: str
    content: Content
    path: str | None = None
    frame: int | None = None

    @property
    def file_name(self) -> str | None:
        """Name in exports: path, URL, or VIDEO#INDEX; None for other images in memory."""
        return self.path if self.frame is None else self.name


class SourceReader:
    """Lists the images of any kind of source, one after the other.

    Args:
        channel_order: 'rgb' or 'bgr', of arrays and tensors.
        color_type: color type of the pipeline's loader, for the check of arrays.

    Raises:
        PredictorError: the order of channels is unknown.
    """

    def __init__(self, channel_order: str = 'rgb', color_type: str = 'color') -> None:
        if channel_order not in CHANNEL_ORDERS:
            raise PredictorError(f'channel_order={channel_order!r} is unknown; choose one of '
                              f'{", ".join(CHANNEL_ORDERS)}')
        self.channel_order, self.color_type = channel_order, color_type
        self.arrays = (f'uint8 arrays, {channel_order.upper()}, [H, W, 3], [H, W, 4] or [H, W]')
        if color_type == CHANNELS:
            self.arrays = 'arrays [H, W, C] or [H, W] with the channels and values of the files'

    def is_single(self, source: object) -> bool:
        """Whether a source is one image, so that a call returns one result and no list."""
        if isinstance(source, (str, Path)):
            text = str(source)
            return '://' in text or Path(text).is_file() and not is_video(text)
        if isinstance(source, Tensor):
            return source.ndim != 4
        return isinstance(source, (np.ndarray, Image.Image, bytes, bytearray, memoryview)) or (
            hasattr(source, 'read'))

    def images(self, source: object) -> Iterator[SourceImage | FailedInput]:
        """List the images of a source lazily, in order.

        Args:
            source: a value of one of the kinds in the texts of errors; generators are not read
                ahead, and a video is decoded frame by frame.

        Yields:
            images; a :class:`FailedInput` for an item of a list that is none.

        Raises:
            FileNotFoundError: no image exists at a path or matches a pattern.
            PredictorError: the source is of another kind, or empty.
        """
        if isinstance(source, VideoFrames):
            yield from self._frames(source)
        elif isinstance(source, (str, Path)):
            yield from self._of_path(str(source))
        elif isinstance(source, Tensor) and source.ndim == 4:
            yield from self._of_list(source.unbind())
        elif self.is_single(source):
            yield self._of_value(source)
        elif isinstance(source, Iterable) and not isinstance(source, dict):
            yield from self._of_list(source)
        else:
            raise PredictorError(f'{type(source).__name__} is not accepted; give '
                              f'{_FOLDED.format(arrays=self.arrays)}')

    def _of_list(self, source: Iterable) -> Iterator[SourceImage | FailedInput]:
        count = 0
        for part in source:
            count += 1
            try:
                yield from self.images(part)
            except (OSError, ValueError) as error:
                yield FailedInput(_describe(part), error)
        if not count:
            raise PredictorError('no images were given: the list is empty')

    def _of_path(self, path: str) -> Iterator[SourceImage]:
        if '://' not in path and Path(path).is_dir():
            files = find_images(path, IMAGE_SUFFIXES + ARRAY_SUFFIXES * (
                self.color_type == CHANNELS))
        else:
            files = find_files(path)
        for file in files:
            if '://' not in file and is_video(file):
                yield from self._frames(VideoFrames(file))
            else:
                yield SourceImage(file, file, path=file)

    def _frames(self, video: VideoFrames) -> Iterator[SourceImage]:
        for index, pixels in video:
            if self.color_type == CHANNELS:
                pixels = swap_red_and_blue(pixels)
            yield SourceImage(f'{video.path}#{index}', check_array(pixels, self.color_type),
                              frame=index)

    def _of_value(self, source: object) -> SourceImage:
        if isinstance(source, Tensor):
            return self._of_tensor(source)
        if isinstance(source, np.ndarray):
            try:
                pixels = check_array(self._to_bgr(source), self.color_type, self.arrays)
            except (TypeError, ValueError) as error:
                raise PredictorError(str(error)) from error
            return SourceImage(_describe(source), pixels)
        if isinstance(source, Image.Image):
            return SourceImage(_describe(source), source)
        data: Any = source.read() if hasattr(source, 'read') else source
        if isinstance(data, str):
            raise PredictorError('an open file must be in binary mode: open(path, "rb")')
        return SourceImage(_describe(source) if hasattr(source, 'read') else
                           f'the given image of {len(data)} bytes', bytes(data))

    def _of_tensor(self, source: Tensor) -> SourceImage:
        if source.ndim != 3 or source.shape[0] not in (1, 3, 4) and (
                self.color_type not in ('unchanged', CHANNELS)):
            hint = (': put the channels first, tensor.permute(2, 0, 1)'
                    if source.ndim == 3 and source.shape[2] in (1, 3, 4) else '')
            raise PredictorError(f'a tensor of shape {list(source.shape)} is not taken; give '
                              f'{TENSORS}{hint}')
        pixels = source.detach().cpu()
        if self.color_type == CHANNELS:
            return self._of_value(np.ascontiguousarray(pixels.permute(1, 2, 0).numpy()))
        if pixels.is_floating_point():
            low, high = (float(x) for x in pixels.float().aminmax())
            if not (low >= 0 and high <= 1):
                raise PredictorError(f'a float tensor with values from {low:g} to {high:g} is not '
                                  'taken; give floats in 0..1, or uint8: (tensor * 255).byte() of '
                                  'values in 0..1, tensor.byte() of values in 0..255')
            pixels = (pixels.float() * 255).round().byte()
        elif pixels.dtype != torch.uint8:
            raise PredictorError(f'a tensor of {pixels.dtype} is not taken; give {TENSORS}')
        return self._of_value(np.ascontiguousarray(pixels.permute(1, 2, 0).numpy()))

    def _to_bgr(self, pixels: np.ndarray) -> np.ndarray:
        if self.color_type == CHANNELS:
            # the order of files is R, G, B
            return swap_red_and_blue(pixels) if self.channel_order == 'bgr' else pixels
        if self.channel_order == 'bgr' or pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
            return pixels
        # alpha stays last
        return np.ascontiguousarray(pixels[..., [2, 1, 0, 3][:pixels.shape[2]]])


def find_images(folder: str | Path, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> list[str]:
    """List the images in a folder and in its subfolders, sorted by path.

    Hidden files and folders are left out.

    Args:
        folder: path of it.
        suffixes: lower-case endings of the files to list.

    Raises:
        FileNotFoundError: there is none.
    """
    folder = Path(folder)
    files = [path for path in sorted(folder.rglob('*')) if path.is_file() and not any(
        part.startswith('.') for part in path.relative_to(folder).parts)]
    found = [str(path) for path in files if path.suffix.lower() in suffixes]
    if not found:
        raise FileNotFoundError(
            f'no image found at {folder}: none of the {len(files)} files in it and in its '
            f'subfolders has a suffix of images ({" ".join(suffixes)})')
    return found


def _describe(source: object) -> str:
    """Name of a source in error texts."""
    if isinstance(source, (str, Path)):
        return str(source)
    if isinstance(source, np.ndarray) and source.ndim >= 2:
        return f'the given array of {source.shape[1]}x{source.shape[0]} pixels'
    if isinstance(source, Image.Image):
        return f'the given image of {source.width}x{source.height} pixels'
    name = getattr(source, 'name', None)
    if isinstance(source, io.IOBase) and isinstance(name, str):
        return name
    return f'the given {type(source).__name__}'
