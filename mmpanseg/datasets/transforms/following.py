"""Do the transforms of a pipeline move the ground truth as they move the image?

Those of mmcv and mmdet are known by name, see
:mod:`mmpanseg.datasets.transforms.foreign_transforms`. Others are applied to a picture whose colors
tell the segments, and compared with its ground truth.
"""
import copy
import random
from collections.abc import Iterator
from typing import Any

import cv2
import mmengine.dataset
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BaseInstanceMasks, BitmapMasks, PolygonMasks

from mmpanseg.structures import VOID

# packages whose transforms are known by name
_KNOWN = ('mmcv', 'mmdet', 'mmengine', 'mmpanseg')
# ... except for those that do what their arguments say
_DEPENDS = ('Albu', 'AlbuOnMap', 'Transpose')
# a class with this attribute is not tried
TRUSTED = 'follows_map'
_CONTAINERS = (BaseTransform, mmengine.dataset.Compose)
# segments of a probe; their rectangles have sides of 8 to 40 pixels, so that no turn repeats them
_ROWS, _COLUMNS, _SIDE = 5, 7, 24
_RUNS = 6
# largest difference of a pixel to the color of another segment, least one to its own
_NEAR, _FAR = 10, 40
# so many segments show in the place of others
_MISPLACED = 4
# pixels that are compared
_PIXELS = 2000
# share of the variance of colors that the segments explain; photometric transforms keep it
_EXPLAINED = 0.3


def check_following(steps: Any, channels: int = 3, masks: type[BaseInstanceMasks] | None = None,
                    label: str = 'gt_seg_map') -> None:
    """Try the transforms of other packages than mmcv and mmdet on a picture.

    Transforms that fail on it, that need entries of the user's data for example, are not judged.
    Random generators are left as they were.

    Args:
        steps: built transforms, nested in lists and containers.
        channels: channels of the images.
        masks: class of ``gt_masks`` for pipelines that load instances. None: the ground truth is
            ``gt_seg_map``.
        label: name of the ground truth in the error text.

    Raises:
        ValueError: a transform moves pixels of the image without those of the ground truth, or
            interpolates a map of segments; the text names it and the fix.
    """
    for step in unknown_transforms(steps):
        states = random.getstate(), np.random.get_state(), torch.get_rng_state()
        try:
            # three colors tell most; a transform may only work with the channels of the data
            problem = _problem(step, 3, masks)
            if problem is None and channels != 3:
                problem = _problem(step, channels, masks)
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
            torch.set_rng_state(states[2])
        if problem:
            name = type(step).__name__ if isinstance(step, BaseTransform) else repr(step)
            raise ValueError(
                f'{name} {problem.format(label=label)}; or remove it, or set {TRUSTED} = True '
                'on its class if its ground truth is right all the same')


def unknown_transforms(item: Any) -> Iterator[Any]:
    """Iterate over the transforms in a pipeline that are not known by name."""
    if isinstance(item, (list, tuple)):
        for part in item:
            yield from unknown_transforms(part)
    elif isinstance(item, dict):
        yield from unknown_transforms(list(item.values()))
    elif _is_unknown(item):
        yield item
    elif isinstance(item, _CONTAINERS):
        yield from unknown_transforms([
            value for value in vars(item).values()
            if isinstance(value, (list, tuple, dict, *_CONTAINERS))])


def _is_unknown(item: Any) -> bool:
    if getattr(item, TRUSTED, False) or not callable(item) or isinstance(item, (type, str)):
        return False
    kind = item if hasattr(item, '__qualname__') else type(item)
    if type(item).__name__ in _DEPENDS:
        return True
    return str(kind.__module__).partition('.')[0] not in _KNOWN


def _problem(step: Any, channels: int, masks: type[BaseInstanceMasks] | None) -> str | None:
    """Try a transform.

    Returns:
        what is wrong with it, {label} being the ground truth; '' if nothing is, None if it fails.
    """
    judged = False
    for seed in range(_RUNS):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        sample, colors = probe_sample(seed, channels, masks)
        try:
            # a transform may keep samples
            trial = copy.deepcopy(step)
            if hasattr(trial, 'get_indexes'):
                others = [probe_sample(seed, channels, masks)[0] for _ in range(4)]
                chosen = np.atleast_1d(trial.get_indexes(others))
                sample['mix_results'] = [copy.deepcopy(others[int(k)]) for k in chosen]
            results = trial(sample)
            found = None if results is None else _index_map(results, masks)
            image = None if results is None else np.asarray(results['img'])
        except Exception:
            # any error of a transform of any package; the first image raises it again
            continue
        if found is None or image is None or found.shape != image.shape[:2] or (
                found.max(initial=-1) >= len(colors)):
            continue  # errors of the packing, which names the image
        judged = True
        if shows_others(image, found, colors):
            return ('moves the pixels of the image but not those of {label} (or only those of '
                    '{label}): let it apply the same operation to both')
        if masks is None and _is_interpolated(found, len(colors)):
            return ('interpolates {label}, whose values are numbers of segments: let it resize '
                    'with the nearest pixel (cv2.INTER_NEAREST)')
    return '' if judged else None


def probe_sample(seed: int = 0, channels: int = 3,
                 masks: type[BaseInstanceMasks] | None = None) -> tuple[dict, np.ndarray]:
    """Make a sample of a grid of rectangles, each a segment of its own color, one of them void.

    Args:
        seed: of the colors.
        channels: channels of the image.
        masks: class of ``gt_masks``; None: ``gt_seg_map``.

    Returns:
        the sample as the loaders fill it, and the color of each segment [N, channels].
    """
    rng = np.random.default_rng(seed)
    count = _ROWS * _COLUMNS
    colors = rng.integers(20, 236, (count, channels), dtype=np.uint8)
    height, width = _ROWS * _SIDE, _COLUMNS * _SIDE
    index, boxes = np.empty((height, width), np.int32), np.empty((count, 4), np.float32)
    labels, rows = iter(rng.permutation(count)), _borders(rng, _ROWS)
    for top, bottom in zip(rows, rows[1:]):
        columns = _borders(rng, _COLUMNS)
        for left, right in zip(columns, columns[1:]):
            label = next(labels)
            index[top:bottom, left:right] = label
            boxes[label] = left, top, right, bottom
    image = colors[index]
    sample = dict(
        img=image, img_shape=(height, width), ori_shape=(height, width), height=height,
        width=width, img_path='probe.png', img_id=0, img_orientation=1, ann_orientation=1,
        annotations_turned=True,
        segments_info=[dict(id=k + 1, category=k, is_thing=True, iscrowd=0)
                       for k in range(count)])
    if masks is None:
        index[index == count - 1] = VOID
        sample.update(gt_seg_map=index, gt_segment_labels=np.arange(count, dtype=np.int64),
                      ignore_index=VOID, seg_fields=['gt_seg_map'], map_of_file=False)
        return sample, colors
    polygons = [[box[[0, 1, 2, 1, 2, 3, 0, 3]]] for box in boxes]
    if issubclass(masks, BitmapMasks):
        filled = BitmapMasks((index == np.arange(count)[:, None, None]).astype(np.uint8),
                             height, width)
    else:
        filled = masks(polygons, height, width)
    sample.update(
        gt_masks=filled, gt_bboxes=HorizontalBoxes(boxes),
        gt_bboxes_labels=np.arange(count, dtype=np.int64),
        gt_ignore_flags=np.zeros(count, bool),
        instances=[dict(bbox=list(box), bbox_label=k, mask=[polygons[k][0].tolist()],
                        ignore_flag=0) for k, box in enumerate(boxes)])
    return sample, colors


def _borders(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return the borders of so many intervals of different length."""
    borders = np.arange(count + 1) * _SIDE
    borders[1:-1] += rng.integers(-_SIDE // 3, _SIDE // 3 + 1, count - 1)
    return borders


def _index_map(results: dict, masks: type[BaseInstanceMasks] | None) -> np.ndarray:
    """Return the segment of each pixel, -1 for none; instances by their label."""
    if masks is None:
        return np.asarray(results['gt_seg_map']).astype(np.int32)
    found = results['gt_masks']
    index = np.full((found.height, found.width), VOID, np.int32)
    for label, mask in zip(results['gt_bboxes_labels'], found.to_ndarray()):
        index[mask > 0] = label
    return index


def shows_others(image: np.ndarray, index_map: np.ndarray, colors: np.ndarray) -> bool:
    """Return whether an image shows other segments than its map says.

    Args:
        image: of a transformed sample of :func:`probe_sample`, [H, W, C] or [H, W].
        index_map: segment of each pixel, int32 [H, W], -1 = none.
        colors: color of each segment [N, C].
    """
    channels = colors.shape[1]
    image = image.reshape(*image.shape[:2], -1).astype(np.float32)
    if image.shape[2] != channels:
        return False
    # noise is averaged within segments
    image = cv2.blur(image, (3, 3)).reshape(image.shape)
    values, shape = index_map.astype(np.float32), np.ones((7, 7), np.uint8)
    inside = (cv2.erode(values, shape) == cv2.dilate(values, shape)) & (index_map != VOID)
    pixels, labels = image[inside], index_map[inside]
    present = [k for k in range(len(colors)) if (labels == k).sum() >= 20]
    if len(present) < _MISPLACED:
        return False
    kept = np.isin(labels, present)
    pixels, labels = pixels[kept], np.searchsorted(present, labels[kept])
    # a transform may make the image darker
    scale = max(float(np.ptp(np.percentile(pixels, (5, 95)))), 1) / 200
    near, far = scale * _NEAR, scale * _FAR
    # blends of two colors at edges may be equal to a third one
    square = np.ones((3, 3), np.uint8)
    edges = np.stack([cv2.dilate(plane, square) - cv2.erode(plane, square)
                      for plane in np.moveaxis(image, 2, 0)]).max(0)
    flat = np.flatnonzero(edges[inside][kept] < far)
    flat = flat[::len(flat) // _PIXELS + 1]
    medians = np.stack([np.median(pixels[labels == k], 0) for k in range(len(present))])

    def misplaced(shown: np.ndarray, own: np.ndarray, known: np.ndarray, least: int) -> bool:
        """Whether many of the colors `known` show at `least` places that belong to others."""
        distance = np.abs(shown[:, None] - known).max(2)
        wrong = (np.abs(shown - own).max(1) > far) & (distance.min(1) <= near)
        counts = np.bincount(distance.argmin(1)[wrong], minlength=len(known))
        return int((counts >= least).sum()) >= _MISPLACED

    if misplaced(pixels[flat], medians[labels[flat]], medians, 5):
        return True
    original = colors.astype(np.float32)
    # with fewer channels a change of colors hits other colors by chance
    if channels >= 3 and misplaced(medians, original[present], original, 1):
        return True
    means = np.stack([pixels[labels == k].mean(0) for k in range(len(present))])
    total = ((pixels - pixels.mean(0)) ** 2).sum()
    within = ((pixels - means[labels]) ** 2).sum()
    return bool(total > 0 and 1 - within / total < _EXPLAINED)


def _is_interpolated(index_map: np.ndarray, count: int) -> bool:
    """Return whether the segments of a probe have many slivers, as along interpolated borders."""
    slivers = 0
    for label in np.unique(index_map[index_map != VOID]):
        mask = (index_map == label).astype(np.uint8)
        number, pieces = cv2.connectedComponents(mask, connectivity=8)
        thick = np.unique(pieces[cv2.erode(mask, np.ones((3, 3), np.uint8)) > 0])
        slivers += number - 1 - len(thick)
    return slivers > count


def mask_kind(loader: Any) -> type[BaseInstanceMasks]:
    """Return the class of ``gt_masks`` that a loader of annotations makes."""
    return BitmapMasks if getattr(loader, 'poly2mask', False) else PolygonMasks
