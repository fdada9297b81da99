"""Command line that writes a data set of synthetic scenes."""
import argparse
import time

from mmpanseg.datasets.scenes.generator import write_scenes


def main() -> None:
    """Write the splits train and val."""
    parser = argparse.ArgumentParser(
        prog='python -m mmpanseg.datasets.scenes',
        description='Draw synthetic scenes and write them in COCO panoptic format.')
    parser.add_argument('out', help='folder of the dataset, made if missing')
    parser.add_argument('--train', type=int, default=400, help='number of training scenes')
    parser.add_argument('--val', type=int, default=100, help='number of validation scenes')
    parser.add_argument('--size', type=int, nargs=2, default=(192, 256), metavar=('H', 'W'))
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    if min(args.size) < 64:
        parser.error(f'--size {args.size[0]} {args.size[1]}: both sides must be at least 64 pixels')
    for split in ('train', 'val'):
        start = time.perf_counter()
        count = getattr(args, split)
        write_scenes(args.out, split, count, tuple(args.size), args.seed)
        print(f'{split}: {count} scenes in {time.perf_counter() - start:.1f} s')
    print(f'dataset written to {args.out}')


if __name__ == '__main__':
    main()
