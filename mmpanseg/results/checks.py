"""Checks and conversions of what a result is made of. K classes, n segments, H, W image size."""
import math
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
from pycocotools import mask as rle_tools

from mmpanseg.results.masks import DenseMasks, MapMasks, RunLengthMasks
from mmpanseg.structures.map_segments import read_counts
from mmpanseg.structures.panoptic_png import MAX_SEGMENT_ID


def to_array(value: Any, dtype: Any = None) -> np.ndarray:
    """Convert an array or a tensor on any device to an array; copied only where needed."""
    if hasattr(value, 'detach'):
        value = value.detach().cpu()
        # NumPy has no bfloat16
        value = (value.float() if value.is_floating_point() else value).numpy()
    return np.asarray(value, dtype)


def check_size(size: Sequence[int]) -> tuple[int, int]:
    """Convert (H, W) to two integers.

    Raises:
        ValueError: it is no pair of positive integers.
    """
    sides = tuple(size)
    if len(sides) != 2 or not all(isinstance(side, (int, np.integer)) and side > 0
                                  for side in sides):
        raise ValueError(f'size must be (height, width) in pixels, got {size!r}')
    return int(sides[0]), int(sides[1])


def check_classes(classes: Sequence[str], num_things: int) -> tuple[str, ...]:
    """Check class names and the number of things.

    Raises:
        ValueError: there are more things than classes, or classes is a text.
    """
    if isinstance(classes, str):
        raise ValueError(f'classes must be a list of names, got the text {classes!r}')
    names = tuple(str(name) for name in classes)
    if not 0 <= num_things <= len(names):
        raise ValueError(f'num_things must be in 0 .. {len(names)}, the number of classes, got '
                         f'{num_things}')
    return names


def check_per_class(name: str, values: Sequence | None, num_classes: int) -> list | None:
    """Check that an argument has a value for each class.

    Raises:
        ValueError: it has fewer or more.
    """
    if values is None:
        return None
    if len(values) != num_classes:
        raise ValueError(f'{name} has {len(values)} entries, but there are {num_classes} classes: '
                         'give one for each')
    return list(values)


def check_image_id(image_id: Any) -> int | str | None:
    """Convert the id of an image to a type of JSON.

    Raises:
        ValueError: it is neither an integer nor a text.
    """
    if image_id is None or isinstance(image_id, str):
        return image_id
    if not isinstance(image_id, (int, np.integer)):
        raise ValueError(f'image_id must be an integer or a text, got {image_id!r}')
    return int(image_id)


def check_map(name: str, values: Any, size: tuple[int, int]) -> np.ndarray:
    """Convert a map to int32.

    Args:
        name: of the map in error texts.
        values: integers [H, W], array or tensor.
        size: (H, W).

    Raises:
        ValueError: it has another size, or no integers.
    """
    array = to_array(values)
    if array.dtype.kind not in 'iub':
        raise ValueError(f'the {name} map must have integers, got {array.dtype}')
    check_mask_size(f'the {name} map', array.shape, size)
    return np.ascontiguousarray(array, np.int32)


def check_mask_size(name: str, shape: Sequence[int], size: tuple[int, int]) -> None:
    """Check the shape of a map or of a mask.

    Raises:
        ValueError: it is not ``size``; the text has both.
    """
    if tuple(shape) != size:
        given = ' x '.join(map(str, shape))
        raise ValueError(f'{name} has {given} pixels (height x width), the image {size[0]} x '
                         f'{size[1]}: give it at the size of the image')


def check_panoptic(panoptic: Sequence, size: tuple[int, int],
                   num_classes: int) -> tuple[MapMasks, list[dict[str, Any]]]:
    """Check a map and the list of its segments.

    Args:
        panoptic: (map, list), see :class:`Result`.
        size: (H, W).
        num_classes: K.

    Returns:
        masks of the map, and dict(id, label, score) of the segments in the order of the list.

    Raises:
        ValueError: see :class:`Result`.
    """
    ids, infos = panoptic
    masks = MapMasks(check_map('panoptic', ids, size))
    segments: list[dict[str, Any]] = []
    for info in infos:
        missing = [key for key in ('id', 'label') if key not in info]
        if missing:
            raise ValueError(f'a segment has no {missing[0]!r}: {dict(info)}')
        where = f'segment {info["id"]}'
        if not 1 <= info['id'] <= MAX_SEGMENT_ID:
            raise ValueError(f'{where}: ids must be in 1 .. {MAX_SEGMENT_ID}; 0 is void')
        segments.append(dict(id=int(info['id']), label=_label(info['label'], num_classes, where),
                             score=_score(info.get('score'), where)))
    listed: list[int] = [segment['id'] for segment in segments]
    if len(set(listed)) < len(listed):
        twice = next(i for i in listed if listed.count(i) > 1)
        raise ValueError(f'segment {twice} is listed twice: ids must differ')
    present = set(masks.found.ids.tolist()) - {0}
    if unlisted := sorted(present.difference(listed)):
        raise ValueError(f'the panoptic map has pixels of {_some(unlisted)}, which the list of '
                         'segments does not have: list them, or set the pixels to 0, void')
    if absent := sorted(set(listed) - present):
        raise ValueError(f'the list of segments has {_some(absent)}, of which the panoptic map has '
                         'no pixel: remove them from the list')
    return masks, segments


def check_instances(instances: Sequence, size: tuple[int, int], num_classes: int
                    ) -> tuple[DenseMasks | RunLengthMasks, list[dict]]:
    """Check instances.

    Args:
        instances: (labels, scores, masks, boxes), see :class:`Result`.
        size: (H, W).
        num_classes: K.

    Returns:
        their masks, and dict(label, score, area, box) of each.

    Raises:
        ValueError: see :class:`Result`.
    """
    labels, scores, given, boxes = instances
    labels, scores = to_array(labels).ravel().tolist(), to_array(scores).ravel().tolist()
    masks: DenseMasks | RunLengthMasks
    if isinstance(given, (list, tuple)) and all(isinstance(mask, Mapping) for mask in given):
        masks = RunLengthMasks([_compressed(mask, number, size)
                                for number, mask in enumerate(given)])
        num_masks = len(given)
    else:
        dense = to_array(given)
        if dense.ndim != 3:
            raise ValueError('masks of instances must be bool [n, H, W] or a list of run lengths, '
                             f'got the shape {list(dense.shape)}')
        check_mask_size('a mask of an instance', dense.shape[1:], size)
        masks = DenseMasks(dense if dense.dtype == bool else dense != 0)
        num_masks = len(dense)
    array = (masks.boxes() if boxes is None else to_array(boxes)).reshape(-1, 4).astype(float)
    numbers_of = dict(labels=len(labels), scores=len(scores), masks=num_masks, boxes=len(array))
    if len(set(numbers_of.values())) > 1:
        counts = ', '.join(f'{count} {name}' for name, count in numbers_of.items())
        raise ValueError(f'instances must have one label, score, mask and box each, got {counts}')
    if not np.isfinite(array).all():
        number = int(np.flatnonzero(~np.isfinite(array).all(1))[0])
        raise ValueError(f'instance {number + 1}: the box {array[number].tolist()} is not finite')
    found = []
    for number, (label, score, box, area) in enumerate(
            zip(labels, scores, array.tolist(), masks.areas()), 1):
        where = f'instance {number}'
        found.append(dict(label=_label(label, num_classes, where), score=_score(score, where),
                          area=area, box=tuple(box)))
    return masks, found


def check_semantic(semantic: Any, size: tuple[int, int], num_classes: int) -> MapMasks:
    """Check a semantic map.

    Args:
        semantic: integers [H, W].
        size: (H, W).
        num_classes: K.

    Raises:
        ValueError: see :class:`Result`.
    """
    masks = MapMasks(check_map('semantic', semantic, size))
    wrong = [value for value in masks.found.ids.tolist() if not -1 <= value < num_classes]
    if wrong:
        raise ValueError(f'the semantic map has the value {wrong[0]}: labels are 0 .. '
                         f'{num_classes - 1}, void is -1')
    return masks


def find_labels(classes: Sequence[str], wanted: str | int | Iterable[str | int]) -> set[int]:
    """Find the labels of classes.

    Args:
        classes: class names by label.
        wanted: names or labels, one or several.

    Raises:
        ValueError: a class is unknown; the text has near names.
    """
    labels: set[int] = set()
    for name in [wanted] if isinstance(wanted, (str, int, np.integer)) else wanted:
        if isinstance(name, (int, np.integer)):
            labels.add(_label(name, len(classes), 'class'))
        elif name in classes:
            labels.update(label for label, known in enumerate(classes) if known == name)
        else:
            raise ValueError(unknown_class(classes, name))
    return labels


def unknown_class(classes: Sequence[str], name: object) -> str:
    """Describe a class that does not exist, with near names."""
    lower = {known.lower(): known for known in reversed(classes)}
    near = [lower[match] for match in get_close_matches(str(name).lower(), lower, n=3)]
    known = (f'did you mean {" or ".join(map(repr, near))}?' if near else
             f'the classes are {", ".join(classes[:5])}{", ..." if len(classes) > 5 else ""}')
    return f'there is no class {name!r}; {known}'


def _label(value: Any, num_classes: int, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or (
            not 0 <= value < num_classes):
        raise ValueError(f'{where}: the label {value!r} is none of 0 .. {num_classes - 1}')
    return int(value)


def _score(value: Any, where: str) -> float | None:
    if value is None:
        return None
    score = float(value)
    if not math.isfinite(score):
        raise ValueError(f'{where} has the score {score}: scores must be finite numbers; check '
                         'weights and image')
    return score


def _compressed(mask: Mapping, number: int, size: tuple[int, int]) -> dict:
    """Convert run lengths to compressed ones of bytes."""
    where = f'the mask of instance {number + 1}'
    if not {'size', 'counts'} <= set(mask):
        raise ValueError(f'{where} has no "size" and "counts": give COCO run lengths')
    check_mask_size(where, mask['size'], size)
    counts = mask['counts']
    try:
        if isinstance(counts, (str, bytes)):
            read_counts(counts, size)
            return dict(size=list(size), counts=counts.encode() if isinstance(counts, str)
                        else counts)
        if sum(counts) != size[0] * size[1] or min(counts, default=0) < 0:
            raise ValueError(f'they sum to {sum(counts)}')
        return rle_tools.frPyObjects(dict(size=list(size), counts=list(counts)), *size)
    except (TypeError, ValueError) as error:
        raise ValueError(f'{where} is no run lengths of {size[0]} x {size[1]} pixels: '
                         f'{error}') from error


def _some(ids: Sequence[int]) -> str:
    """Name a few ids."""
    listed = ', '.join(map(str, ids[:3]))
    return f'segment{"s" * (len(ids) > 1)} {listed}' + ', ...' * (len(ids) > 3)
