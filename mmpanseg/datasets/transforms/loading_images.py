"""Loading of images from files and arrays, and of instances that lie as their image does.

These classes take the place of mmcv's and mmdet's of the same names wherever a config names them:
inferencers and data sets of mmdet build their loaders by these names.
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
from mmpanseg.structures.image_file import DecodedImage, decode_image

ARRAYS = 'uint8 arrays, BGR, [H, W, 3], [H, W, 4] or [H, W]'


@ROOT_TRANSFORMS.register_module(force=True)
class LoadImageFromFile(mmcv.transforms.LoadImageFromFile):
    """mmcv's loader, whose images are upright in every format and say how they were turned.

    Adds ``img_orientation``, the EXIF orientation (1 .. 8) that the image was turned by, 1 with the
    color types ``unchanged`` and ``*_ignore_orientation``; and ``ann_orientation``, by which
    annotations of the same size are to be turned, see
    :func:`mmpanseg.structures.exif_orientation.annotation_orientation`. An array under ``img``
    without an ``img_path`` is taken as the image.

    Args:
        upright_annotations: annotations of all images belong to the upright pixels, as labeling
            tools write them that turn images first. By default they belong to the pixels as
            stored, unless only the upright size fits them.

    Raises:
        ImageError: the image cannot be read, or is suspiciously large for its file.
        TypeError, ValueError: an array is no image as this loader's files are.
    """

    def __init__(self, *args, upright_annotations: bool = False, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if self.color_type not in imread_flags:
            raise ValueError(f'LoadImageFromFile: color_type={self.color_type!r} must be one of '
                             f'{", ".join(imread_flags)}')
        self.upright_annotations = upright_annotations
        self._said: set[str] = set()

    def transform(self, results: dict) -> dict | None:
        if results.get('img_path') is None and 'img' in results:
            return self._take_array(results)
        try:
            image = self._read(results)
        except Exception:
            if self.ignore_empty:
                return None
            raise
        self._tell(image, results['img_path'])
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
        return decode_image(data, path, self.color_type, self.imdecode_backend)

    def _take_array(self, results: dict) -> dict:
        self._fill(results, check_array(results['img'], self.color_type))
        results.update(img_path=None, img_orientation=1, ann_orientation=1)
        return results

    def _fill(self, results: dict, image: np.ndarray) -> None:
        results['img'] = image.astype(np.float32) if self.to_float32 else image
        results['img_shape'] = results['ori_shape'] = image.shape[:2]

    def _of_annotations(self, results: dict) -> int:
        """Orientation by which annotations with the data set's height and width are turned."""
        orientation = results['img_orientation']
        if orientation == 1 or self.upright_annotations:
            return 1
        size = (results.get('height'), results.get('width'))
        if None in size:
            return orientation
        return annotation_orientation(size, dict(results, ann_orientation=orientation))

    def _tell(self, image: DecodedImage, path: str) -> None:
        """Say once what an ordinary user of the data set would not expect."""
        if image.orientation != 1:
            self._say_once(
                'orientation', f'{path} and perhaps others have an EXIF orientation '
                f'({image.orientation}): images are turned upright, and annotations with them '
                'where they fit the stored pixels (if those of all images are upright already: '
                'LoadImageFromFile(upright_annotations=True))')
        if image.header is not None and image.header.bits > 8 and image.pixels.dtype == np.uint8:
            self._say_once(
                'bits', f'{path} has {image.header.bits}-bit samples and is read as 8 bits (the '
                'upper ones; a 12-bit range becomes nearly black): to keep all, read it with '
                "LoadImageFromFile(color_type='unchanged') and set mean and std of the "
                'data_preprocessor to the range of the values')

    def _say_once(self, what: str, text: str) -> None:
        if what not in self._said:
            self._said.add(what)
            print_log(text, logger='current', level=logging.WARNING)

    def __repr__(self) -> str:
        return f'{super().__repr__()[:-1]}, upright_annotations={self.upright_annotations})'


@MMDET_TRANSFORMS.register_module(force=True)
class LoadImageFromNDArray(LoadImageFromFile, mmdet.datasets.transforms.LoadImageFromNDArray):
    """mmdet's loader of ``img``, an array; it reads ``img_path`` where there is no array.

    Arguments and errors are those of :class:`LoadImageFromFile`.
    """

    def transform(self, results: dict) -> dict | None:
        if 'img' in results:
            return self._take_array(results)
        return super().transform(results)


@MMDET_TRANSFORMS.register_module(force=True)
class LoadAnnotations(mmdet.datasets.transforms.LoadAnnotations):
    """mmdet's loader, whose boxes and masks are turned as the image was.

    Arguments are those of mmdet's class. What :class:`LoadImageFromFile` noted down in
    ``img_orientation`` and ``ann_orientation`` says how.
    """

    def transform(self, results: dict) -> dict:
        orientation = results.get('ann_orientation', 1)
        if orientation == 1:
            return super().transform(results)
        upright = results['ori_shape']
        # polygons and run lengths are of the stored pixels
        results['ori_shape'] = oriented_size(upright, orientation)
        results = super().transform(results)
        results['ori_shape'] = upright
        return turn_instances(results, orientation)


def turn_instances(results: dict, orientation: int) -> dict:
    """Turn ``gt_bboxes``, ``gt_masks`` and ``gt_seg_map`` of stored pixels upright, in place.

    Args:
        results: with ``ori_shape``, the upright size.
        orientation: that of the image file.
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


def check_array(image: np.ndarray, color_type: str = 'color') -> np.ndarray:
    """An array as a file of the color type would be read.

    Args:
        image: [H, W, 3] or [H, W, 4], BGR and alpha, or gray [H, W] or [H, W, 1]; uint8 unless the
            color type is ``unchanged``.
        color_type: of the loader: color gives [H, W, 3], gray [H, W], ``unchanged`` stays.

    Raises:
        TypeError: the values have another type. ValueError: the shape is another one.
    """
    if not isinstance(image, np.ndarray):
        raise TypeError(f'an image of type {type(image).__name__} is not taken; give {ARRAYS}')
    if image.dtype != np.uint8 and (color_type != 'unchanged' or image.dtype.kind not in 'uif'):
        raise TypeError(
            f'an image array of {image.dtype} is not taken; give {ARRAYS}: '
            '(255 * image).round().astype(np.uint8) of values in 0..1, image.astype(np.uint8) of '
            'values in 0..255')
    if image.ndim == 3 and image.shape[2] not in (1, 3, 4) and color_type != 'unchanged' or (
            image.ndim not in (2, 3)) or 0 in image.shape:
        hint = (': put the channels last, image.transpose(1, 2, 0)'
                if image.ndim == 3 and image.shape[0] in (1, 3, 4) else '')
        raise ValueError(f'an image array of shape {list(image.shape)} is not taken; give {ARRAYS}'
                         f'{hint}')
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


def _existing(path: str, backend_args: dict | None) -> str:
    """The path, with the slashes of this system if only so there is a file."""
    if '\\' in path and backend_args is None and '://' not in path:
        other = path.replace('\\', '/')
        if not fileio.exists(path) and fileio.exists(other):
            return other
    return path

