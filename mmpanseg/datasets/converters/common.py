"""Reading and writing of all converters.

H, W: height and width of an image in pixels; N: number of segments.
"""
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmengine.utils import track_parallel_progress, track_progress
from PIL import Image, UnidentifiedImageError
from pycocotools import mask as rle_tools
from scipy import ndimage

from mmpanseg.structures.image_file import IMAGE_SUFFIXES
from mmpanseg.structures.label_image import read_label_image
from mmpanseg.structures.panoptic_png import write_panoptic_png
from mmpanseg.utils import strict_json
from mmpanseg.utils.atomic_files import result_file

PathLike = str | Path


class Segment(NamedTuple):
    """Properties of a segment.

    Args:
        category: category id.
        is_thing: thing or stuff.
        is_crowd: group of objects.
    """

    category: int
    is_thing: bool
    is_crowd: bool = False


class Converted(NamedTuple):
    """Entries of one image in the JSONs.

    Args:
        image: entry of "images".
        annotation: entry of "annotations" of the panoptic JSON.
        instances: entries of "annotations" of the instance JSON, without ids.
    """

    image: dict
    annotation: dict
    instances: list[dict]


def list_images(folder: Path, suffix: str | None = None) -> list[Path]:
    """List the images in a folder and its subfolders, sorted, without hidden ones (``._a.jpg``).

    Args:
        folder: the folder.
        suffix: ending of the names, of any case; None: any ending of image files.

    Raises:
        ValueError: the folder does not exist, contains no image, or two images of the same name.
    """
    if not folder.is_dir():
        raise ValueError(f'{folder}: no such folder; give the folder of the unpacked download')
    files = [path for path in sorted(folder.rglob('*')) if not path.name.startswith('.') and (
        path.name.lower().endswith(suffix.lower()) if suffix
        else path.suffix.lower() in IMAGE_SUFFIXES)]
    if not files:
        raise ValueError(f'{folder}: no {suffix or "image"} in it or in its subfolders; is '
                         'the download complete?')
    names: dict[Path, Path] = {}
    for path in files:
        other = names.setdefault(path.with_suffix(''), path)
        if other != path:
            raise ValueError(f'{other} and {path.name} have one name without their endings, so one '
                             'annotation: rename one of them')
    return files


def read_size(path: Path) -> tuple[int, int]:
    """Read (height, width) of an image from its header.

    Raises:
        ValueError: the file does not exist or is no image.
    """
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except FileNotFoundError:
        raise ValueError(f'{path} does not exist; is the download complete?') from None
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f'{path}: not a readable image ({error})') from error


def read_labels(path: Path, size: tuple[int, int], image_path: Path) -> np.ndarray:
    """Read an annotation of one channel, int32 [H, W].

    Args:
        path: path of the annotation.
        size: (height, width) of its image in pixels.
        image_path: path of the image, for error texts.

    Raises:
        ValueError: the file does not exist, is broken, has several channels or another size.
    """
    try:
        values = read_label_image(str(path)).astype(np.int32)
    except FileNotFoundError:
        raise ValueError(f'{path} does not exist, the annotation of {image_path}; is the '
                         'download complete?') from None
    check_size(path, values.shape, size, image_path)
    return values


def check_size(path: Path, found: tuple, size: tuple[int, int], image_path: Path) -> None:
    """Raise a ValueError if an annotation has another size than its image."""
    if tuple(found[:2]) != tuple(size):
        raise ValueError(f'{path} is {found[1]}x{found[0]}, its image {image_path} is '
                         f'{size[1]}x{size[0]}: both must have the same size')


def write_image(ids: np.ndarray, segments: Mapping[int, Segment], image: dict,
                png_path: Path, png_name: str | None = None) -> Converted:
    """Write the panoptic PNG of an image and describe its segments.

    Args:
        ids: segment ids, integer [H, W], below 2**24; ids that are not in ``segments`` are void.
        segments: segments by id; ids without a pixel are omitted.
        image: entry of "images" in the JSON, with ``id``.
        png_path: file to write; its folder must exist.
        png_name: name of the PNG in the JSON; None: the name of the file.

    Returns:
        entries of the image; ``instances`` are its things and crowds of things.
    """
    areas = np.bincount(ids.ravel())
    kept = [value for value in np.flatnonzero(areas).tolist() if value in segments]
    number = np.zeros(len(areas), np.int32)
    number[kept] = np.arange(1, len(kept) + 1)
    index = number[ids]
    infos, instances = [], []
    masks = encode_segments(index, len(kept))
    for value, mask, (rows, columns) in zip(kept, masks, ndimage.find_objects(index)):
        segment = segments[value]
        info = dict(
            id=value, category_id=segment.category, iscrowd=int(segment.is_crowd),
            area=int(areas[value]), bbox=[columns.start, rows.start, columns.stop - columns.start,
                                          rows.stop - rows.start])
        infos.append(info)
        if segment.is_thing:
            instances.append({key: info[key] for key in ('category_id', 'iscrowd', 'area', 'bbox')}
                             | dict(image_id=image['id'], segmentation=mask))
    write_panoptic_png(png_path, np.array([0, *kept], np.int32)[index])
    return Converted(image, dict(image_id=image['id'], file_name=png_name or png_path.name,
                                 segments_info=infos), instances)


def encode_segments(index: np.ndarray, count: int) -> Iterator[dict]:
    """Encode each segment as compressed run lengths of COCO's JSONs.

    Args:
        index: index of the segment of each pixel, integer [H, W], 1 .. count; 0 = none.
        count: number of segments.
    """
    height, width = index.shape
    flat = index.ravel(order='F')  # COCO scans along the columns
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    ends = np.append(starts[1:], flat.size)
    order = np.argsort(flat[starts], kind='stable')
    borders = np.searchsorted(flat[starts][order], np.arange(1, count + 2))
    for first, last in zip(borders, borders[1:]):
        runs = order[first:last]
        edges: np.ndarray = np.stack([starts[runs], ends[runs]], 1).ravel()
        if edges[-1] < flat.size:
            edges = np.append(edges, flat.size)
        counts = np.diff(edges, prepend=0)
        encoded = rle_tools.frPyObjects(dict(size=[height, width], counts=counts.tolist()),
                                        height, width)
        yield dict(size=[height, width], counts=encoded['counts'].decode())


def write_jsons(converted: Sequence[Converted], categories: list[dict],
                panoptic_file: Path, instance_file: Path) -> None:
    """Write the panoptic JSON, and the instance JSON with the categories that are things."""
    images = [item.image for item in converted]
    instances = [instance for item in converted for instance in item.instances]
    write_json(panoptic_file, dict(
        images=images, annotations=[item.annotation for item in converted],
        categories=categories))
    write_json(instance_file, dict(
        images=images, annotations=[dict(id=k, **item) for k, item in enumerate(instances, 1)],
        categories=[category for category in categories if category['isthing']]))


def write_json(path: Path, content: dict) -> None:
    """Write a JSON file; an interrupted run leaves no file of this name."""
    with result_file(path) as part:
        part.write_text(strict_json.dumps(content))


def category(number: int, name: str, is_thing: bool, color: Sequence[int]) -> dict:
    """Return an entry of "categories" in the JSON."""
    return dict(id=number, name=name, isthing=int(is_thing), color=list(color))


def run_all(function: Callable, tasks: list, workers: int) -> list:
    """Call a function for each task, with a progress bar.

    Args:
        function: function of a task.
        tasks: the tasks.
        workers: number of processes.

    Returns:
        results in the order of the tasks.

    Raises:
        ValueError: ``workers`` is not positive.
    """
    if workers < 1:
        raise ValueError(f'workers={workers} must be at least 1')
    if workers == 1:
        return track_progress(function, tasks)
    return track_parallel_progress(
        function, tasks, nproc=workers, chunksize=max(1, min(32, len(tasks) // (4 * workers))))
