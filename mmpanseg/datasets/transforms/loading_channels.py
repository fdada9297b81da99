"""Loading of images with any number of channels of 8, 16 or 32 bits."""
from collections.abc import Sequence

import numpy as np

from mmpanseg.datasets.transforms.loading_images import LoadImageFromFile
from mmpanseg.registry import TRANSFORMS
from mmpanseg.structures.image_channels import (
    CHANNELS,
    as_channels,
    decode_channels,
    select_channels,
)
from mmpanseg.structures.image_file import DecodedImage, ImageError


@TRANSFORMS.register_module()
class LoadChannels(LoadImageFromFile):
    """Load all channels of an image as they are stored, [H, W, C].

    Reads PNG (gray, RGB, RGBA, palette, 8 or 16 bits), the other formats of OpenCV, TIFF with any
    number of channels or pages, ``.npy`` and ``.npz``. Colors have the order R, G, B, so
    ``bgr_to_rgb`` of the data preprocessor is False. The type is uint8, uint16, int16 or float32;
    other types become float32. Images are turned upright by their EXIF orientation, as by
    :class:`LoadImageFromFile`. Arrays under ``img`` are [H, W, C] or [H, W] in the same order.

    All images of a data set must have the same number of channels, as the first convolution and
    ``mean`` and ``std`` of :class:`mmpanseg.models.ChannelDataPreprocessor`.

    Args:
        channels: numbers of the channels to use, from 0, in this order. None: all.
        num_channels: number of channels of the result that is checked for every image. None: not
            checked here.
        display: channels of the result that pictures show, one (gray) or three (red, green, blue).
            None: the first three, or the first one where there are fewer.
        channels_first: arrays of ``.npy`` and ``.npz`` are [C, H, W].
        to_float32: convert the values to float32.
        upright_annotations: see :class:`LoadImageFromFile`.
        backend_args: arguments of mmengine's file backend; None for the file system.
        ignore_empty: skip images that cannot be read.

    Raises:
        ImageError: the image cannot be read, has another number of channels, or values that are
            not finite.
        ValueError: an argument is out of range.
    """

    def __init__(self, channels: Sequence[int] | None = None, num_channels: int | None = None,
                 display: Sequence[int] | None = None, channels_first: bool = False,
                 to_float32: bool = False, upright_annotations: bool = False,
                 backend_args: dict | None = None, ignore_empty: bool = False) -> None:
        super().__init__(to_float32=to_float32, backend_args=backend_args,
                         ignore_empty=ignore_empty, upright_annotations=upright_annotations)
        self.color_type = CHANNELS
        for name, chosen in (('channels', channels), ('display', display)):
            if chosen is not None and (not len(chosen) or any(
                    not isinstance(k, int) or k < 0 for k in chosen)):
                raise ValueError(f'LoadChannels: {name}={list(chosen)} must be numbers of '
                                 'channels, from 0')
        if display is not None and len(display) not in (1, 3):
            raise ValueError(f'LoadChannels: display={list(display)} must be one channel (gray) or '
                             'three (red, green, blue)')
        if channels is not None and num_channels not in (None, len(channels)):
            raise ValueError(f'LoadChannels: num_channels={num_channels}, but channels names '
                             f'{len(channels)}')
        self.channels, self.num_channels, self.display = channels, num_channels, display
        self.channels_first = channels_first

    def decode(self, data: bytes, name: str) -> DecodedImage:
        """Decode a file and select its channels."""
        image = decode_channels(data, name, self.channels_first)
        return image._replace(pixels=self._chosen(image.pixels, name))

    def transform(self, results: dict) -> dict | None:
        loaded = super().transform(results)
        if loaded is not None:
            loaded['drawn_channels'] = dict(
                channels=self.shown_channels, channels_first=self.channels_first)
        return loaded

    @property
    def shown_channels(self) -> tuple[int, ...] | None:
        """Channels of the file that pictures show; None for the first ones."""
        chosen = self.channels
        if self.display is None:
            return None if chosen is None else tuple(chosen[:3] if len(chosen) >= 3 else chosen[:1])
        return tuple(self.display if chosen is None else (chosen[k] for k in self.display))

    def check_array(self, image: np.ndarray) -> np.ndarray:
        """Check an array as the content of a file, and select its channels."""
        if not isinstance(image, np.ndarray):
            raise TypeError(f'an image of type {type(image).__name__} is not taken; give arrays '
                            '[H, W, C] with the channels in the order of the files')
        return self._chosen(as_channels(image, 'the given array'), 'the given array')

    def _chosen(self, pixels: np.ndarray, name: str) -> np.ndarray:
        if self.channels is not None:
            return select_channels(pixels, self.channels, name)
        if self.num_channels not in (None, pixels.shape[2]):
            raise ImageError(
                f'{name} has {pixels.shape[2]} channels, LoadChannels(num_channels='
                f'{self.num_channels}) expects {self.num_channels}: convert the image, or select '
                'those that all images have with LoadChannels(channels=(...))')
        return pixels

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(channels={self.channels}, '
                f'num_channels={self.num_channels}, display={self.display}, '
                f'channels_first={self.channels_first}, to_float32={self.to_float32})')
