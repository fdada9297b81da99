"""Command line that writes a data set of synthetic scenes."""
import argparse
import time

from mmpanseg.datasets.scenes.generator import write_scenes
from mmpanseg.datasets.scenes.labeled_folders import WRITERS


def main() -> None:
    """Write the splits train and val."""
    parser = argparse.ArgumentParser(
        prog='python -m mmpanseg.datasets.scenes',
        description='Draw synthetic scenes and write them in COCO panoptic format, or as a '
        'labeling tool leaves them.')
    parser.add_argument('out', help='folder of the dataset, made if missing')
    parser.add_argument('--train', type=int, default=400, help='number of training scenes')
    parser.add_argument('--val', type=int, default=100, help='number of validation scenes')
    parser.add_argument('--size', type=int, nargs=2, default=(192, 256), metavar=('H', 'W'))
    parser.add_argument('--seed', type=int, default=0)
    form = parser.add_mutually_exclusive_group()
    for name, text in (
            ('labelme', 'photos with labelme polygons in one folder'),
            ('yolo', 'a YOLO segmentation folder of the things: images, labels, data.yaml'),
            ('label-maps', 'images, label maps and classes.txt for semantic segmentation')):
        form.add_argument(f'--{name}', action='store_const', const=name, dest='form',
                          help=f'write {text}')
    args = parser.parse_args()
    if min(args.size) < 64:
        parser.error(f'--size {args.size[0]} {args.size[1]}: both sides must be at least 64 pixels')
    if args.form:
        WRITERS[args.form](args.out, dict(train=args.train, val=args.val), tuple(args.size),
                           args.seed)
        print(f'{args.train + args.val} scenes written to {args.out}')
        return
    for split in ('train', 'val'):
        start = time.perf_counter()
        count = getattr(args, split)
        write_scenes(args.out, split, count, tuple(args.size), args.seed)
        print(f'{split}: {count} scenes in {time.perf_counter() - start:.1f} s')
    print(f'dataset written to {args.out}')


if __name__ == '__main__':
    main()
