"""Images per second and memory of ``mmpanseg doctor``, on synthetic images of COCO's size.

Each image has a panoptic PNG. The lists alone (``--fast``) are timed, and the whole check with each
number of processes; memory is the peak of the main process and, after +, of the largest worker.
Files are read once before, so that the disk is not measured.

    OMP_NUM_THREADS=1 python tools/benchmark/data_doctor.py --images 5000
"""
# ruff: noqa: E402  (arguments are parsed before the imports that take seconds)
import argparse


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--images', type=int, default=5000, help='number (default: 5000)')
    parser.add_argument('--size', type=int, nargs=2, default=[480, 640], metavar=('H', 'W'))
    parser.add_argument('--segments', type=int, default=11, help='of each image (default: 11)')
    parser.add_argument('--workers', type=int, nargs='+', default=[0, 2],
                        help='numbers of processes, 0 for none besides the command '
                        '(default: 0 2)')
    return parser.parse_args()


if __name__ == '__main__':
    ARGS = parse_args()

import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from peers import region_map

from mmpanseg.doctor.run import run_doctor
from mmpanseg.doctor.source import Source
from mmpanseg.structures.map_segments import find_segments
from mmpanseg.structures.panoptic_png import write_panoptic_png
from mmpanseg.utils import strict_json

CLASSES = 133


def make_image(folder: Path, number: int, args: argparse.Namespace) -> tuple[dict, dict]:
    """Write an image and its PNG; returns its entries of "images" and "annotations"."""
    height, width = args.size
    generator = np.random.default_rng(number)
    index = region_map((height, width), args.segments, number).numpy()
    smooth = cv2.resize(generator.integers(-60, 60, (height // 8, width // 8, 3)).astype(
        np.float32), (width, height))
    pixels = generator.integers(0, 256, (args.segments, 3))[index] + smooth
    cv2.imwrite(str(folder / f'images/{number}.jpg'), pixels.clip(0, 255).astype(np.uint8))
    ids = generator.choice(1 << 24, args.segments, replace=False)
    ids[ids == 0] = 1
    write_panoptic_png(folder / f'maps/{number}.png', ids[index])
    found = find_segments(ids[index])
    labels = generator.choice(CLASSES, args.segments, replace=False)
    return (dict(id=number, file_name=f'{number}.jpg', height=height, width=width),
            dict(image_id=number, file_name=f'{number}.png', segments_info=[
                dict(id=i, category_id=int(label), iscrowd=0, area=area,
                     bbox=[x1, y1, x2 - x1, y2 - y1])
                for i, area, (x1, y1, x2, y2), label in zip(
                    found.ids.tolist(), found.areas.tolist(), found.boxes.tolist(), labels)]))


def make_source(folder: Path, args: argparse.Namespace) -> Source:
    """Write all images and their JSON."""
    for name in ('images', 'maps'):
        (folder / name).mkdir()
    entries = [make_image(folder, number, args) for number in range(1, args.images + 1)]
    (folder / 'panoptic.json').write_text(strict_json.dumps(dict(
        images=[image for image, _ in entries],
        annotations=[annotation for _, annotation in entries],
        categories=[dict(id=i, name=f'class {i}', isthing=int(i < 80)) for i in range(CLASSES)])))
    return Source('train', 'panoptic', str(folder / 'panoptic.json'), str(folder / 'images'),
                  str(folder / 'maps'))


def measure(source: Source, fast: bool, workers: int, results: multiprocessing.SimpleQueue) -> None:
    """Check a source in this process; seconds, problems, and peaks of memory in MB."""
    start = time.perf_counter()
    report = run_doctor([source], fast=fast, workers=workers)
    seconds = time.perf_counter() - start
    peaks = [resource.getrusage(who).ru_maxrss / 1024 for who in (
        resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    results.put((seconds, len(report.problems), *peaks))


def main(args: argparse.Namespace) -> None:
    context = multiprocessing.get_context('fork')
    with tempfile.TemporaryDirectory() as name:
        source = make_source(Path(name), args)
        ways = [('--fast', True, 0)] + [
            (f'whole, {workers} processes' if workers else 'whole, this process', False, workers)
            for workers in args.workers]
        for title, fast, workers in ways:
            results = context.SimpleQueue()
            child = context.Process(target=measure, args=(source, fast, workers, results))
            child.start()
            seconds, problems, own, largest = results.get()
            child.join()
            memory = f'{own:.0f} MB' + f' + {largest:.0f} MB' * (workers > 0)
            print(f'{title:<24}{args.images / seconds:9.1f} images/s {seconds:9.1f} s   '
                  f'{memory:<18} {problems} problems')


if __name__ == '__main__':
    main(ARGS)
