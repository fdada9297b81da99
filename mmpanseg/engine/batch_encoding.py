"""Training batches as tensors and plain containers, which a restricted unpickler reads.

A value that is no tensor, number, text or container of these is a dict with the key ``kind``.
"""
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import BaseBoxes, get_box_type
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.structures import BaseDataElement, InstanceData, PixelData
from torch import Tensor

from mmpanseg.structures import SegmentMap

_KIND = 'kind'
_ELEMENTS = {kind.__name__: kind
             for kind in (DetDataSample, InstanceData, PixelData, BaseDataElement)}


def encode_batch(value: Any) -> Any:
    """Encode a batch of a data loader, or a part of it.

    Args:
        value: containers of tensors, arrays, numbers, texts, data samples, ground truth.

    Returns:
        The same content as tensors on the CPU and plain containers. Objects of other classes, which
        no model of this library reads, become their text.
    """
    if value is None or isinstance(value, (bool, int, float, str)) and not isinstance(
            value, np.generic):
        return value
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(key): encode_batch(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [encode_batch(entry) for entry in value]
    if isinstance(value, tuple):
        return tuple(encode_batch(entry) for entry in value)
    for kinds, encode in _ENCODERS:
        if isinstance(value, kinds):
            return encode(value)
    return str(value)


def decode_batch(value: Any) -> Any:
    """Create the batch of an encoding, see :func:`encode_batch`."""
    if isinstance(value, list):
        return [decode_batch(entry) for entry in value]
    if isinstance(value, tuple):
        return tuple(decode_batch(entry) for entry in value)
    if not isinstance(value, dict):
        return value
    if _KIND not in value:
        return {key: decode_batch(entry) for key, entry in value.items()}
    return _DECODERS[value[_KIND]](value)


def _encode_element(element: BaseDataElement) -> dict:
    name = next(name for name, kind in _ELEMENTS.items() if isinstance(element, kind))
    return {_KIND: name, 'metainfo': encode_batch(dict(element.metainfo_items())),
            'data': encode_batch(dict(element.items()))}


def _decode_element(value: dict) -> BaseDataElement:
    element = _ELEMENTS[value[_KIND]](metainfo=decode_batch(value['metainfo']))
    for name, entry in value['data'].items():
        setattr(element, name, decode_batch(entry))
    return element


def _encode_segments(segments: SegmentMap) -> dict:
    stored = segments.stored()
    return {_KIND: 'SegmentMap', **{name: encode_batch(entry) for name, entry in stored.items()}}


def _decode_segments(value: dict) -> SegmentMap:
    if value['width'] is not None:
        return SegmentMap.from_bits(value['labels'], value['masks'], value['width'])
    return SegmentMap(value['labels'], value['map'], value['masks'])


def _encode_array(array: np.ndarray) -> Any:
    if array.dtype.kind not in 'biufc':
        return encode_batch(array.tolist())
    try:
        return {_KIND: 'array', 'values': torch.from_numpy(np.ascontiguousarray(array))}
    except TypeError:  # a type that torch lacks
        return encode_batch(array.tolist())


def _encode_boxes(boxes: BaseBoxes) -> dict:
    return {_KIND: 'boxes', 'name': get_box_type(type(boxes))[0],
            'tensor': encode_batch(boxes.tensor)}


def _encode_polygons(masks: PolygonMasks) -> dict:
    return {_KIND: 'PolygonMasks', 'height': masks.height, 'width': masks.width,
            'masks': encode_batch(masks.masks)}


_ENCODERS: tuple[tuple[Any, Any], ...] = (
    (BaseDataElement, _encode_element),
    (SegmentMap, _encode_segments),
    (np.ndarray, _encode_array),
    (BaseBoxes, _encode_boxes),
    (BitmapMasks, lambda masks: {_KIND: 'BitmapMasks', 'height': masks.height,
                                 'width': masks.width, 'masks': encode_batch(masks.masks)}),
    (PolygonMasks, _encode_polygons),
    (Path, str))
_DECODERS: dict[str, Any] = {
    **dict.fromkeys(_ELEMENTS, _decode_element),
    'SegmentMap': _decode_segments,
    'array': lambda value: value['values'].numpy(),
    'boxes': lambda value: get_box_type(value['name'])[1](value['tensor'], clone=False),
    'BitmapMasks': lambda value: BitmapMasks(
        decode_batch(value['masks']), value['height'], value['width']),
    'PolygonMasks': lambda value: PolygonMasks(
        decode_batch(value['masks']), value['height'], value['width'])}
