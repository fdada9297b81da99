"""Time the panoptic quality on synthetic data: from PNG files, and from maps in memory.

Runs on one core and measures CPU time, so that other load of the machine has little effect. If
panopticapi is installed (it is no dependency of this project), its single-core evaluation scores
the same files in the same run, and the speed-ups are printed. The PNGs are written by PIL with its
default settings, as those of the published datasets.

    python tools/benchmark/panoptic_quality.py --images 200 --rounds 5
"""
# ruff: noqa: E402  (arguments are parsed before the imports that take seconds)
import argparse


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--images', type=int, default=100)
    parser.add_argument('--segments', type=int, default=20)
    parser.add_argument('--rounds', type=int, default=3, help='timings of each (default: 3)')
    return parser.parse_args()


if __name__ == '__main__':
    ARGS = parse_args()

import contextlib
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mmpanseg.evaluation import PanopticMap, image_pq, image_pq_variants, pq_compute
from mmpanseg.structures import id2rgb
from mmpanseg.structures.panoptic_png import read_panoptic_png
from mmpanseg.utils import strict_json

try:
    from panopticapi.evaluation import pq_compute_single_core
except ImportError:
    pq_compute_single_core = None

NUM_CLASSES = 20
CATEGORIES = {k: dict(id=k, name=str(k), isthing=k % 2) for k in range(NUM_CLASSES)}
BATCH = 10


def make_map(rng: np.random.Generator, width: int, height: int, segments: int) -> tuple:
    """A Voronoi map with wavy borders, int64 [H, W], and the labels of its segments.

    Like panoptic annotations it has compact regions whose borders are not straight.
    """
    y, x = np.mgrid[:height, :width].astype(np.float32)
    for _ in range(3):
        phase, period = rng.uniform(0, 6, 2), rng.uniform(15, 60, 2)
        x, y = (x + 4 * np.sin(y / period[0] + phase[0]), y + 4 * np.sin(x / period[1] + phase[1]))
    centers = rng.uniform(0, 1, (segments, 2)) * (width, height)
    distance = np.stack([(x - cx) ** 2 + (y - cy) ** 2 for cx, cy in centers])
    return distance.argmin(0), rng.integers(0, NUM_CLASSES, segments)


def write_annotation(folder: Path, image_id: int, index_map: np.ndarray, labels: np.ndarray,
                     rng: np.random.Generator) -> dict:
    """Write a map as PNG with random colors; returns its annotation."""
    ids = rng.choice(np.arange(1, 1 << 24), len(labels), replace=False)
    file_name = f'{image_id:012d}.png'
    Image.fromarray(id2rgb(ids[index_map])).save(folder / file_name)
    present, areas = np.unique(index_map, return_counts=True)
    return dict(image_id=image_id, file_name=file_name, segments_info=[
        dict(id=int(ids[k]), category_id=int(labels[k]), area=int(area), iscrowd=0)
        for k, area in zip(present, areas)])


def make_data(folder: Path, width: int, height: int, images: int, segments: int) -> list:
    """Ground truth and a shifted, partly relabeled prediction of it, in COCO panoptic format.

    Returns:
        batches of (ground truth, prediction) annotations. PNGs are in ``folder``/gt and pred,
        the JSON files of batch b are ``folder``/gt{b}.json and pred{b}.json.
    """
    rng = np.random.default_rng(0)
    for side in ('gt', 'pred'):
        (folder / side).mkdir()
    pairs = []
    for image_id in range(images):
        index_map, labels = make_map(rng, width, height, segments)
        shifted = np.roll(index_map, 5, axis=1)
        relabeled = np.where(rng.random(segments) < 0.2, 0, labels)
        pairs.append((write_annotation(folder / 'gt', image_id, index_map, labels, rng),
                      write_annotation(folder / 'pred', image_id, shifted, relabeled, rng)))
    batches = [pairs[start:start + BATCH] for start in range(0, images, BATCH)]
    for number, batch in enumerate(batches):
        for side, annotations in zip(('gt', 'pred'), zip(*batch)):
            (folder / f'{side}{number}.json').write_text(strict_json.dumps(
                dict(categories=list(CATEGORIES.values()), annotations=annotations)))
    return batches


def load(folder: Path, annotation: dict) -> tuple:
    infos = annotation['segments_info']
    return (read_panoptic_png(folder / annotation['file_name']), [info['id'] for info in infos],
            [info['category_id'] for info in infos])


def time_per_image(function: Callable, batch: list) -> float:
    """Milliseconds of CPU time per image of one call."""
    start = time.process_time()
    function()
    return (time.process_time() - start) / len(batch) * 1e3


def score_files(folder: Path, number: int) -> dict:
    return pq_compute(folder / f'gt{number}.json', folder / f'pred{number}.json',
                      folder / 'gt', folder / 'pred', num_processes=1)


def score_maps(maps: list[tuple]) -> None:
    for gt, pred in maps:
        image_pq(PanopticMap(*gt), PanopticMap(*pred), NUM_CLASSES)


def score_boundaries(maps: list[tuple]) -> None:
    for gt, pred in maps:
        image_pq_variants(PanopticMap(*gt), PanopticMap(*pred), NUM_CLASSES, boundary_width=0.02,
                          by_size=True)


def score_official(folder: Path, batch: list[tuple]):
    with contextlib.redirect_stdout(io.StringIO()):
        return pq_compute_single_core(0, batch, folder / 'gt', folder / 'pred', CATEGORIES)


def measure(width: int, height: int, images: int, segments: int, rounds: int) -> None:
    times, differences = {}, [0.]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        batches = make_data(folder, width, height, images, segments)
        # In alternation batch by batch, so that a slow phase affects all contestants alike.
        for number, batch in list(enumerate(batches)) * rounds:
            maps = [(load(folder / 'gt', gt), load(folder / 'pred', pred)) for gt, pred in batch]
            contestants = {'from PNG files': partial(score_files, folder, number),
                           'from maps in memory': partial(score_maps, maps),
                           '... with boundaries and sizes': partial(score_boundaries, maps)}
            if pq_compute_single_core is not None:
                contestants['panopticapi, from PNG files'] = partial(score_official, folder, batch)
                official = score_official(folder, batch).pq_average(CATEGORIES, isthing=None)
                differences.append(
                    abs(official[0]['pq'] - score_files(folder, number)['All']['pq']))
            for name, function in contestants.items():
                times.setdefault(name, []).append(time_per_image(function, batch))

    print(f'{width}x{height}, {segments} segments, {images} images, median of {rounds} rounds')
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, median in medians.items():
        line = f'  {name:30s} {median:7.3f} ms per image'
        if pq_compute_single_core is not None:
            line += f'   {medians["panopticapi, from PNG files"] / median:5.1f}x'
        print(line)
    if pq_compute_single_core is None:
        print('  panopticapi cannot be imported, no comparison')
    else:
        print(f'  largest difference in PQ: {max(differences):.1e}')


def main(args: argparse.Namespace) -> None:
    cv2.setNumThreads(1)
    if hasattr(os, 'sched_setaffinity'):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    for width, height in ((480, 360), (640, 480)):
        measure(width, height, args.images, args.segments, args.rounds)


if __name__ == '__main__':
    main(ARGS)
