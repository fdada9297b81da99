"""Time and peak memory of ``mmpanseg report`` on made-up maps and predictions, by number of images.

Each set is written to a temporary folder, and each report is made in a process of its own. Memory
is the peak resident memory of that process.

    python tools/benchmark/report.py --images 100 5000 --size 480 640
"""
# ruff: noqa: E402  (arguments are parsed before the imports that take seconds)
import argparse


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--images', type=int, nargs='+', default=(100, 5000),
                        help='numbers of images (default: 100 5000)')
    parser.add_argument('--size', type=int, nargs=2, default=(480, 640), metavar=('H', 'W'))
    parser.add_argument('--segments', type=int, default=20, help='in every image (default: 20)')
    parser.add_argument('--pictures', type=int, default=200,
                        help='images with pictures (default: 200)')
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

from mmpanseg.engine.command_line import import_mmdet
from mmpanseg.structures.panoptic_png import write_panoptic_png
from mmpanseg.utils import strict_json

CLASSES = 20


def write_set(folder: Path, count: int, args: argparse.Namespace) -> None:
    """Write ground truth and predictions: rectangles, some of them moved, lost or confused."""
    rng = np.random.default_rng(0)
    height, width = args.size
    annotations: dict[str, list] = dict(truth=[], pred=[])
    for side in ('images', *annotations):
        (folder / side).mkdir(parents=True)
    picture = cv2.imencode('.jpg', rng.integers(0, 256, (height, width, 3)).astype(np.uint8))[1]
    for number in range(count):
        maps = {side: np.ones((height, width), np.int32) for side in annotations}
        labels = {side: {1: 0} for side in annotations}
        for at in range(2, args.segments + 1):
            h, w = (int(rng.integers(8, length // 3)) for length in (height, width))
            y, x = int(rng.integers(height - h)), int(rng.integers(width - w))
            label = int(rng.integers(1, CLASSES))
            shift = int(rng.integers(0, 1 + w // 4))
            maps['truth'][y:y + h, x:x + w], labels['truth'][at] = at, label
            if rng.random() < 0.85:
                maps['pred'][y:y + h, x + shift:x + w] = at
                labels['pred'][at] = label if rng.random() < 0.9 else label % (CLASSES - 1) + 1
        (folder / f'images/{number:06d}.jpg').write_bytes(picture.tobytes())
        for side, ids in maps.items():
            write_panoptic_png(folder / side / f'{number:06d}.png', ids)
            annotations[side].append(dict(
                image_id=number, file_name=f'{number:06d}.png', segments_info=[
                    dict(id=segment, category_id=labels[side][segment], iscrowd=0,
                         area=int((ids == segment).sum()), score=float(rng.uniform(0.3, 1)))
                    for segment in np.unique(ids).tolist()]))
    listed = [dict(id=number, file_name=f'{number:06d}.jpg', height=height, width=width)
              for number in range(count)]
    categories = [dict(id=label, name=f'class {label}', isthing=int(label > 0))
                  for label in range(CLASSES)]
    for side, entries in annotations.items():
        (folder / f'{side}.json').write_text(strict_json.dumps(
            dict(images=listed, categories=categories, annotations=entries)), encoding='utf-8')


def measure(folder: Path, pictures: int) -> tuple[float, float, float, float]:
    """Make a report: seconds, CPU seconds, peak memory in MB, size of the page in MB."""
    import_mmdet()
    from mmpanseg.report.command import ReportArguments, run_report

    start, cpu = time.perf_counter(), time.process_time()
    report = run_report(ReportArguments(
        predictions=folder / 'pred.json', truth=folder / 'truth.json', images=folder / 'images',
        out=folder / 'report', pictures=pictures))
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return seconds, cpu, peak, report.page.stat().st_size / 1e6


def main(args: argparse.Namespace) -> None:
    print(f'{args.size[0]}x{args.size[1]}, {args.segments} segments, pictures of {args.pictures}')
    print(f'{"images":>8} {"seconds":>9} {"CPU s":>9} {"peak MB":>9} {"page MB":>9}')
    context = multiprocessing.get_context('spawn')
    for count in args.images:
        with tempfile.TemporaryDirectory() as name:
            write_set(Path(name), count, args)
            with context.Pool(1) as pool:
                figures = pool.apply(measure, (Path(name), args.pictures))
        print(f'{count:8d} ' + ' '.join(f'{figure:9.1f}' for figure in figures), flush=True)


if __name__ == '__main__':
    main(ARGS)
