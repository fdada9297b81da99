"""Loading of images from files and arrays, and of instances in the orientation of their image.

These classes replace the classes of the same names of mmcv and mmdet in the registries as soon as
mmpanseg is imported (``force=True``), because inferencers and data sets of mmdet build their
loaders by these names. They accept the arguments of the replaced classes. Images without an EXIF
orientation are loaded as by the replaced classes; images with one are turned upright in every
format, and the sample records the orientation so that annotations are turned too.
"""
import logging

import cv2
import mmcv.transforms
import mmdet.datasets.transforms
import numpy as np
from mmcv.image.io import imread_flags
from mmdet.registry import TRANSFORMS as MMDET_TRANSFORMS
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine import fileio
from mmengine.logging import print_log
from mmengine.registry import TRANSFORMS as ROOT_TRANSFORMS

from mmpanseg.structures.exif_orientation import (
    annotation_orientation,
    apply_orientation,
    orient_boxes,
    orient_points,
    oriented_size,
)
from mmpanseg.structures.image_channels import CHANNELS, as_channels
from mmpanseg.structures.image_file import (
    DecodedImage,
    ImageError,
    check_finite,
    decode_image,
)

ARRAYS = 'uint8 arrays, BGR, [H, W, 3], [H, W, 4] or [H, W]'


@ROOT_TRANSFORMS.register_module(force=True)
class LoadImageFromFile(mmcv.transforms.LoadImageFromFile):
    """Replacement of mmcv's loader that turns images of every format upright.

    Adds ``img_orientation``, the EXIF orientation (1 .. 8) by which the image was turned, 1 for the
    color types ``unchanged`` and ``*_ignore_orientation``, and ``ann_orientation``, the orientation
    by which its annotations must be turned, see
    :func:`mmpanseg.structures.exif_orientation.annotation_orientation`. If ``img_path`` is
    absent, an
    array under ``img`` is the image. Other arguments are those of mmcv's class.

    Args:
        upright_annotations: annotations of all images belong to the upright pixels, as written by
            labeling tools that turn images first. False: they belong to the stored pixels, unless
            only the upright size fits them.

    Raises:
        ImageError: the image cannot be read, is suspiciously large for its file, or has another
            size than its annotation file lists.
        TypeError: an array has another type than the images of files.
        ValueError: an array has another shape than the images of files, or ``color_type`` is
            unknown.
    """

    def __init__(self, *args, upright_annotations: bool = False, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if self.color_type not in imread_flags:
            raise ValueError(f'LoadImageFromFile: color_type={self.color_type!r} must be one of '
                             f'{", ".join(imread_flags)}')
        self.upright_annotations = upright_annotations
        self._logged: set[str] = set()

    def transform(self, results: dict) -> dict | None:
        if results.get('img_path') is None and 'img' in results:
            return self._take_array(results)
        try:
            image = self._read(results)
        except Exception:
            if self.ignore_empty:
                return None
            raise
        check_finite(image.pixels, results['img_path'])
        self._log_unusual(image, results['img_path'])
        _check_listed_size(image, results)
        self._fill(results, image.pixels)
        results['img_orientation'] = image.orientation
        results['ann_orientation'] = self._of_annotations(results)
        return results

    def _read(self, results: dict) -> DecodedImage:
        path = results['img_path'] = _existing(str(results['img_path']), self.backend_args)
        if self.file_client_args is not None:
            data = fileio.FileClient.infer_client(self.file_client_args, path).get(path)
        else:
            data = fileio.get(path, backend_args=self.backend_args)
        return self.decode(data, path)

    def decode(self, data: bytes, name: str) -> DecodedImage:
        """Decode the content of a file; errors name it."""
        return decode_image(data, name, self.color_type, self.imdecode_backend)

    def check_array(self, image: np.ndarray) -> np.ndarray:
        """Check an array, and convert it to the form in which files are read."""
        return check_array(image, self.color_type)

    def _take_array(self, results: dict) -> dict:
        self._fill(results, self.check_array(results['img']))
        results.update(img_path=None, img_orientation=1, ann_orientation=1)
        return results

    def _fill(self, results: dict, image: np.ndarray) -> None:
        results['img'] = image.astype(np.float32) if self.to_float32 else image
        results['img_shape'] = results['ori_shape'] = image.shape[:2]

    def _of_annotations(self, results: dict) -> int:
        """Return the orientation by which annotations of the sample must be turned."""
        orientation = results['img_orientation']
        if orientation == 1 or self.upright_annotations:
            return 1
        height, width = results.get('height'), results.get('width')
        if height is None or width is None:
            return orientation
        return annotation_orientation((height, width), dict(results, ann_orientation=orientation))

    def _log_unusual(self, image: DecodedImage, path: str) -> None:
        """Log the first image with an EXIF orientation, with several frames, or that loses bits."""
        if image.orientation != 1:
            self._log_once(
                'orientation', f'{path} and perhaps others have an EXIF orientation '
                f'({image.orientation}): images are turned upright, and annotations with them '
                'where they fit the stored pixels (if those of all images are upright already: '
                'LoadImageFromFile(upright_annotations=True))')
        if image.header is not None and image.header.bits > 8 and image.pixels.dtype == np.uint8:
            self._log_once(
                'bits', f'{path} has {image.header.bits}-bit samples and is read as 8 bits (the '
                'upper ones; a 12-bit range becomes nearly black): to keep all, read it with '
                "LoadImageFromFile(color_type='unchanged') and set mean and std of the "
                'data_preprocessor to the range of the values')

        if image.header is not None and image.header.frames > 1 and self.color_type != CHANNELS:
            self._log_once(
                'frames', f'{path} has {image.header.frames} frames or pages, of which the first '
                'one is read: write the others to files of their own')

    def _log_once(self, what: str, text: str) -> None:
        if what not in self._logged:
            self._logged.add(what)
            print_log(text, logger='current', level=logging.WARNING)

    def __repr__(self) -> str:
        return f'{super().__repr__()[:-1]}, upright_annotations={self.upright_annotations})'


@MMDET_TRANSFORMS.register_module(force=True)
class LoadImageFromNDArray(LoadImageFromFile, mmdet.datasets.transforms.LoadImageFromNDArray):
    """Replacement of mmdet's loader of arrays under ``img``; without one it reads ``img_path``.

    Arguments and errors are those of :class:`LoadImageFromFile`.
    """

    def transform(self, results: dict) -> dict | None:
        if 'img' in results:
            return self._take_array(results)
        return super().transform(results)


@MMDET_TRANSFORMS.register_module(force=True)
class LoadAnnotations(mmdet.datasets.transforms.LoadAnnotations):
    """Replacement of mmdet's loader that turns boxes and masks as the image was turned.

    Arguments are those of mmdet's class. :class:`LoadImageFromFile` records the orientation in
    ``ann_orientation``.
    """

    def transform(self, results: dict) -> dict:
        orientation = results.get('ann_orientation', 1)
        if orientation == 1:
            return super().transform(results)
        upright = results['ori_shape']
        # polygons and run lengths belong to the stored pixels
        results['ori_shape'] = oriented_size(upright, orientation)
        results = super().transform(results)
        results['ori_shape'] = upright
        return turn_instances(results, orientation)


def turn_instances(results: dict, orientation: int) -> dict:
    """Turn ``gt_bboxes``, ``gt_masks`` and ``gt_seg_map`` from stored pixels upright, in place.

    Args:
        results: sample with ``ori_shape``, the upright size.
        orientation: EXIF orientation of the image file, 1 .. 8.
    """
    upright = tuple(results['ori_shape'])
    stored = oriented_size(upright, orientation)
    boxes = results.get('gt_bboxes')
    if boxes is not None and hasattr(boxes, 'tensor'):
        turned = orient_boxes(boxes.tensor.numpy(), orientation, stored)
        boxes.tensor = boxes.tensor.new_tensor(turned)
    elif boxes is not None:
        results['gt_bboxes'] = orient_boxes(boxes, orientation, stored)
    masks = results.get('gt_masks')
    if isinstance(masks, PolygonMasks):
        results['gt_masks'] = PolygonMasks(
            [[orient_points(np.reshape(part, (-1, 2)), orientation, stored).reshape(-1)
              for part in polygons] for polygons in masks.masks], *upright)
    elif masks is not None:
        dense = masks.to_ndarray().transpose(1, 2, 0)
        results['gt_masks'] = BitmapMasks(
            np.ascontiguousarray(apply_orientation(dense, orientation).transpose(2, 0, 1)),
            *upright)
    if results.get('gt_seg_map') is not None:
        results['gt_seg_map'] = apply_orientation(results['gt_seg_map'], orientation)
    results['annotations_turned'] = True
    return results


def check_array(image: np.ndarray, color_type: str = 'color',
                accepted: str = ARRAYS) -> np.ndarray:
    """Check an array and convert it to the form in which a file of the color type is read.

    Args:
        image: [H, W, 3] or [H, W, 4], BGR and alpha, or gray [H, W] or [H, W, 1]; uint8 unless the
            color type is ``unchanged``.
        color_type: color type of the loader: ``color`` gives [H, W, 3], ``grayscale`` [H, W],
            ``unchanged`` the array itself, ``channels`` [H, W, C] of any C and type.
        accepted: description of arrays in error texts.

    Raises:
        TypeError: the values have another type.
        ValueError: the array has another shape.
    """
    if not isinstance(image, np.ndarray):
        raise TypeError(f'an image of type {type(image).__name__} is not taken; give {accepted}')
    if color_type == CHANNELS:
        return as_channels(image, 'the given array')
    if image.dtype != np.uint8 and (color_type != 'unchanged' or image.dtype.kind not in 'uif'):
        raise TypeError(
            f'an image array of {image.dtype} is not taken; give {accepted}: '
            '(255 * image).round().astype(np.uint8) of values in 0..1, image.astype(np.uint8) of '
            'values in 0..255')
    if image.ndim == 3 and image.shape[2] not in (1, 3, 4) and color_type != 'unchanged' or (
            image.ndim not in (2, 3)) or 0 in image.shape:
        hint = (': put the channels last, image.transpose(1, 2, 0)'
                if image.ndim == 3 and image.shape[0] in (1, 3, 4) else '')
        raise ValueError(f'an image array of shape {list(image.shape)} is not taken; give '
                         f'{accepted}{hint}')
    if color_type == 'unchanged':
        return image
    channels = 1 if image.ndim == 2 else image.shape[2]
    if color_type.startswith('grayscale'):
        if channels == 1:
            return image.reshape(image.shape[:2])
        return cv2.cvtColor(image, {3: cv2.COLOR_BGR2GRAY, 4: cv2.COLOR_BGRA2GRAY}[channels])
    if channels == 3:
        return image
    return cv2.cvtColor(image, {1: cv2.COLOR_GRAY2BGR, 4: cv2.COLOR_BGRA2BGR}[channels])


def _check_listed_size(image: DecodedImage, results: dict) -> None:
    """Compare the size of an image with the entry of the data set's annotation file.

    The entry may be the size of the stored or of the upright pixels.

    Raises:
        ImageError: they differ.
    """
    height, width = results.get('height'), results.get('width')
    if 'ann_file' not in results or height is None or width is None:
        return
    found = image.pixels.shape[:2]
    sizes = {found, oriented_size(found, image.orientation)}
    if image.header is not None:  # a loader may ignore the orientation
        sizes.add(oriented_size(image.header.size, image.header.orientation))
    if (height, width) not in sizes:
        raise ImageError(
            f'{results["img_path"]} is {found[1]}x{found[0]}, {results["ann_file"]} says '
            f'{width}x{height}: correct width and height of image {results.get("img_id")!r}, or '
            'use the image that was annotated')


def _existing(path: str, backend_args: dict | None) -> str:
    """Return the path, with slashes instead of backslashes if only that file exists."""
    if '\\' in path and backend_args is None and '://' not in path:
        other = path.replace('\\', '/')
        if not fileio.exists(path) and fileio.exists(other):
            return other
    return path

