"""Convert CamVid (train/, trainannot/, ...) to COCO panoptic and COCO instance format."""
import argparse
from pathlib import Path

from mmpanseg.engine.command_line import import_mmdet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', help='folder with train/, trainannot/, val/, valannot/')
    parser.add_argument('target', help='folder to write, data/camvid for the configs')
    parser.add_argument('--workers', type=int, default=1, help='number of processes (default: 1)')
    args = parser.parse_args()
    splits = [s for s in ('train', 'val', 'test') if (Path(args.source) / s).is_dir()]
    if not splits:
        parser.error(f'{args.source}: has none of the folders train, val, test')
    import_mmdet()
    from mmpanseg.datasets.converters import convert_camvid

    for split in splits:
        try:
            count = convert_camvid(args.source, args.target, split, args.workers)
        except ValueError as error:
            raise SystemExit(f'camvid: {error}') from None
        print(f'\n{split}: {count} images')


if __name__ == '__main__':
    main()
