"""Convert Cityscapes (leftImg8bit/, gtFine/) to COCO panoptic and COCO instance format."""
from mmpanseg.datasets.converters import convert_cityscapes
from mmpanseg.datasets.converters.common import make_parser, run_converter


def main() -> None:
    parser = make_parser(__doc__, ('train', 'val'), 'folder with leftImg8bit/ and gtFine/')
    parser.add_argument('--train-ids', action='store_true',
                        help='also write labelTrainIds PNGs into gtFine/, for other software')
    args = parser.parse_args()
    run_converter(convert_cityscapes, args, dict(train_ids=args.train_ids))


if __name__ == '__main__':
    main()
