"""Scenes as a labeling tool leaves them, for tutorials and tests of the import."""
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from mmpanseg.datasets.scenes.generator import CLASSES, THING_CLASSES, make_scene
from mmpanseg.structures import VOID
from mmpanseg.utils import strict_json

# Largest distance of a polygon from the border of its segment in pixels, and smallest part.
_TOLERANCE, _SMALLEST_PART = 0.7, 12


class Scene(NamedTuple):
    """A scene to write.

    Args:
        name: name of its files without ending.
        image: uint8 RGB [H, W, 3].
        index_map: int32 [H, W], index of the segment of each pixel, -1 = void.
        names: class of each segment.
    """

    name: str
    image: np.ndarray
    index_map: np.ndarray
    names: list[str]


def write_labelme(root: str | Path, counts: dict[str, int], size: tuple[int, int] = (192, 256),
                  seed: int = 0) -> None:
    """Write one folder of photos, each with a labelme JSON of its polygons.

    Shapes go from back to front: stuff, then things. Parts of one segment share a group id.

    Args:
        root: folder to write to.
        counts: number of scenes by split; the files of all splits are in one folder.
        size: (H, W) in pixels.
        seed: seed of the random numbers.
    """
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    for scene in _scenes(counts, size, seed):
        _write_photo(root / f'{scene.name}.jpg', scene.image)
        shapes = []
        order = sorted(range(len(scene.names)), key=lambda k: scene.names[k] in THING_CLASSES)
        for k in order:
            parts = _polygons(scene.index_map == k)
            shapes += [dict(
                label=scene.names[k], points=part.round(1).tolist(),
                group_id=k if len(parts) > 1 else None, description='', shape_type='polygon',
                flags={}, mask=None) for part in parts]
        (root / f'{scene.name}.json').write_text(strict_json.dumps(dict(
            version='5.5.0', flags={}, shapes=shapes, imagePath=f'{scene.name}.jpg',
            imageData=None, imageHeight=size[0], imageWidth=size[1]), indent=2))


def write_yolo(root: str | Path, counts: dict[str, int], size: tuple[int, int] = (192, 256),
               seed: int = 0) -> None:
    """Write a YOLO segmentation folder of the things: images/, labels/ and data.yaml.

    Args: see :func:`write_labelme`. Images without things have an empty text file.
    """
    root = Path(root)
    scale = np.array([size[1], size[0]])
    for split, count in counts.items():
        for kind in ('images', 'labels'):
            (root / kind / split).mkdir(parents=True, exist_ok=True)
        for scene in _scenes({split: count}, size, seed):
            _write_photo(root / f'images/{split}/{scene.name}.jpg', scene.image)
            lines = []
            for k, name in enumerate(scene.names):
                parts = _polygons(scene.index_map == k)
                if name in THING_CLASSES and parts:
                    # the format has one polygon per object
                    largest = max(parts, key=lambda part: cv2.contourArea(part.astype(np.float32)))
                    numbers = ' '.join(f'{value:.5f}' for value in (largest / scale).ravel())
                    lines.append(f'{THING_CLASSES.index(name)} {numbers}\n')
            (root / f'labels/{split}/{scene.name}.txt').write_text(''.join(lines))
    names = ''.join(f'  {k}: {name}\n' for k, name in enumerate(THING_CLASSES))
    (root / 'data.yaml').write_text(
        ''.join(f'{split}: images/{split}\n' for split in counts) + f'names:\n{names}')


def write_label_maps(root: str | Path, counts: dict[str, int], size: tuple[int, int] = (192, 256),
                     seed: int = 0) -> None:
    """Write images/, labels/ with PNGs of class values (255: unlabeled), and classes.txt.

    Args: see :func:`write_labelme`.
    """
    root = Path(root)
    for kind in ('images', 'labels'):
        (root / kind).mkdir(parents=True, exist_ok=True)
    for scene in _scenes(counts, size, seed):
        _write_photo(root / f'images/{scene.name}.jpg', scene.image)
        values = np.array([*map(CLASSES.index, scene.names), 255], np.uint8)
        assert VOID == -1  # the last value
        cv2.imwrite(str(root / f'labels/{scene.name}.png'), values[scene.index_map])
    (root / 'classes.txt').write_text(''.join(f'{name}\n' for name in CLASSES))


WRITERS: dict[str, Callable[..., None]] = {
    'labelme': write_labelme, 'yolo': write_yolo, 'label-maps': write_label_maps}


def _scenes(counts: dict[str, int], size: tuple[int, int], seed: int) -> Iterator[Scene]:
    before = 0
    for split, count in counts.items():
        for number in range(count):
            rng = np.random.default_rng([seed, *split.encode(), number])
            image, index, names = make_scene(rng, size)
            yield Scene(f'photo_{before + number:04d}', image, index, names)
        before += count


def _write_photo(path: Path, image: np.ndarray) -> None:
    cv2.imwrite(str(path), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])


def _polygons(mask: np.ndarray) -> list[np.ndarray]:
    """Outlines of the parts of a mask, float [n, 2] each; holes are not cut out."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL,
                                   cv2.CHAIN_APPROX_NONE)
    found = [cv2.approxPolyDP(contour, _TOLERANCE, True)[:, 0] for contour in contours
             if cv2.contourArea(contour) >= _SMALLEST_PART]
    # contours go through the centers of pixels, whose coordinates are half
    return [part + 0.5 for part in found if len(part) >= 3]
