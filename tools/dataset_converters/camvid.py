"""Convert CamVid (train/, trainannot/, ...) to COCO panoptic format."""
import argparse
from pathlib import Path

from mmpanseg.datasets.camvid import convert_split


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', help='folder with train/, trainannot/, val/, valannot/')
    parser.add_argument('target', help='folder to write, data/camvid for the configs')
    args = parser.parse_args()
    splits = [s for s in ('train', 'val', 'test') if (Path(args.source) / s).is_dir()]
    if not splits:
        parser.error(f'{args.source}: has none of the folders train, val, test')
    for split in splits:
        try:
            print(f'{split}: {convert_split(args.source, args.target, split)} images')
        except ValueError as error:
            raise SystemExit(f'camvid: {error}') from None


if __name__ == '__main__':
    main()
