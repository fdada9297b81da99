"""Panoptic quality of result files in COCO panoptic format."""
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from mmpanseg.datasets.annotation_file import (
    FLAG,
    by_image_id,
    column,
    read_categories,
    read_panoptic_annotations,
)
from mmpanseg.evaluation.boundary import check_boundary_width
from mmpanseg.evaluation.boundary_and_size_pq import image_pq_variants, sum_stats, zero_stats
from mmpanseg.evaluation.panoptic_files import (
    PathLike,
    category_ids,
    load_panoptic_json,
    pair_annotations,
    png_folder,
)
from mmpanseg.evaluation.panoptic_quality import PanopticDataError, PanopticMap, PQStat
from mmpanseg.structures.panoptic_png import read_panoptic_png

# Another process takes more time to start than it saves for fewer images.
IMAGES_PER_PROCESS = 128


def pq_compute(gt_json_file: PathLike,
               pred_json_file: PathLike,
               gt_folder: PathLike | None = None,
               pred_folder: PathLike | None = None,
               *,
               num_processes: int | None = None,
               boundary_width: float | None = None,
               by_size: bool = False) -> dict:
    """Compute the panoptic quality of result files, equal to the official COCO evaluation.

    Segment areas are counted in the PNGs; ``area`` in the JSON is ignored. Images and categories
    are paired by their ids. If the results also list ``images`` with file names and ``categories``
    with names, as :class:`mmpanseg.apis.PanopticInferencer` does, and these contradict the ids, the
    names determine the pairs.

    Args:
        gt_json_file: COCO panoptic annotations, with ``categories`` and ``annotations``.
        pred_json_file: COCO panoptic results, with ``annotations``.
        gt_folder: folder of the annotation PNGs; by default the path of the JSON without its
            extension, or the folder of the JSON.
        pred_folder: folder of the result PNGs, with the same default.
        num_processes: largest number of processes; by default one per usable CPU core. Few images
            are scored in the calling process.
        boundary_width: also compute Boundary PQ, with boundaries of this width relative to the
            image diagonal, 0.02 in published results; see :func:`image_pq_variants`.
        by_size: also compute PQ of small, medium and large segments, see
            :func:`image_pq_variants`.

    Returns:
        dict with ``All``, ``Things``, ``Stuff``: each a dict of pq, sq, rq in 0 .. 1 and n, the
        number of classes that occur; and ``per_class``: category id -> dict of pq, sq, rq. If
        requested, ``Boundary``, ``Small``, ``Medium`` and ``Large`` are dicts of the same form.

    Raises:
        FileNotFoundError: a JSON or PNG does not exist.
        NotADirectoryError: a folder does not exist.
        PanopticDataError: an image has no prediction or two; a category is unknown; an id has the
            wrong type; a segment is listed but has no pixel, or the reverse; or the maps of an
            image differ in size.
        ValueError: a file cannot be decoded; an entry of the ground truth lacks a key, has a value
            of the wrong type or repeats an id; or ``boundary_width`` is not in 0 .. 1.
    """
    if boundary_width is not None:
        check_boundary_width(boundary_width)
    gt_json = load_panoptic_json(gt_json_file, ('categories', 'annotations'))
    pred_json = load_panoptic_json(pred_json_file, ('annotations',))
    folders = [png_folder(gt_folder, gt_json_file, gt_json, 'ground truth', 'gt_folder'),
               png_folder(pred_folder, pred_json_file, pred_json, 'predictions', 'pred_folder')]
    path = str(gt_json_file)
    categories = read_categories(path, gt_json['categories'])
    things = column(path, 'category', gt_json['categories'], 'isthing', FLAG)
    by_image_id(path, 'image', gt_json.get('images', []), 'id')
    read_panoptic_annotations(path, gt_json['annotations'])
    pairs = pair_annotations(gt_json, pred_json, pred_json_file)

    options = dict(boundary_width=boundary_width, by_size=by_size)
    labels = {category: label for label, category in enumerate(categories)}
    pred_labels = {own: labels[category] for own, category in category_ids(
        gt_json, pred_json, pred_json_file).items()}
    score = partial(_score_pairs, folders=folders, labels=(labels, pred_labels),
                    num_classes=len(labels), options=options)
    try:
        total = sum_stats(_map_chunks(score, pairs, num_processes))
    except PanopticDataError as error:
        raise PanopticDataError(
            f'{error} (ground truth {gt_json_file}, results {pred_json_file})') from error

    is_thing = np.array(things, bool)
    results = _report(total.pop('all'), labels, is_thing)
    for name, stat in total.items():
        results[name.capitalize()] = _report(stat, labels, is_thing)
    return results


def _report(stat: PQStat, labels: dict, is_thing: np.ndarray) -> dict:
    pq, sq, rq, _ = (values.tolist() for values in stat.per_class())
    return {
        'All': stat.average(),
        'per_class': {category: dict(pq=pq[label], sq=sq[label], rq=rq[label])
                      for category, label in labels.items()},
        'Things': stat.average(is_thing),
        'Stuff': stat.average(~is_thing),
    }


def _map_chunks(score: Callable[[Sequence[tuple]], dict[str, PQStat]], pairs: list[tuple],
                num_processes: int | None) -> list[dict[str, PQStat]]:
    """Apply ``score`` to chunks of the pairs, in several processes if there are many pairs."""
    if num_processes is None:
        num_processes = (len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity')
                         else os.cpu_count() or 1)
    num_processes = min(num_processes, len(pairs) // IMAGES_PER_PROCESS)
    if num_processes <= 1:
        return [score(pairs)]
    # several chunks per process balance images of different size
    size = -(-len(pairs) // (4 * num_processes))
    chunks = [pairs[start:start + size] for start in range(0, len(pairs), size)]
    # OpenCV's threads do not work after a fork, and the processes use all cores
    with ProcessPoolExecutor(num_processes, multiprocessing.get_context(),
                             initializer=cv2.setNumThreads, initargs=(0,)) as executor:
        return list(executor.map(score, chunks))


def _score_pairs(pairs: Sequence[tuple], folders: Sequence[Path], labels: Sequence[dict],
                 num_classes: int, options: dict) -> dict[str, PQStat]:
    total = zero_stats(num_classes, **options)
    for gt_annotation, pred_annotation in pairs:
        image = f'image {gt_annotation["image_id"]}'
        gt = _read_segments(gt_annotation, folders[0], labels[0], image, 'ground truth')
        pred = _read_segments(pred_annotation, folders[1], labels[1], image, 'prediction')
        stats = image_pq_variants(gt, pred, num_classes, image, **options)
        for name, stat in stats.items():
            total[name] += stat
    return total


def _read_segments(annotation: dict, folder: Path, labels: dict, image: str,
                   side: str) -> PanopticMap:
    """Read the segments of one annotation, with the labels of their categories."""
    name = f'{side} {annotation["file_name"]}'
    infos = annotation['segments_info']
    for info in infos:
        if info['category_id'] not in labels:
            raise PanopticDataError(
                f'{image}: segment {info["id"]} of {name} has unknown category_id '
                f'{info["category_id"]!r}; use an id from "categories" of the ground truth JSON')
    return PanopticMap(read_panoptic_png(folder / annotation['file_name']),
                    [info['id'] for info in infos],
                    [labels[info['category_id']] for info in infos],
                    [info.get('iscrowd', 0) == 1 for info in infos], name=name)
