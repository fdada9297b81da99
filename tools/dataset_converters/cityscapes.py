"""Convert Cityscapes (leftImg8bit/, gtFine/) to COCO panoptic and COCO instance format."""
from mmpanseg.engine.command_line import converter_parser, import_mmdet, run_converter


def main() -> None:
    parser = converter_parser(__doc__, ('train', 'val'), 'folder with leftImg8bit/ and gtFine/')
    parser.add_argument('--train-ids', action='store_true',
                        help='also write labelTrainIds PNGs to gtFine/, for other software')
    args = parser.parse_args()
    import_mmdet()
    from mmpanseg.datasets.converters import convert_cityscapes

    run_converter(convert_cityscapes, args, train_ids=args.train_ids)


if __name__ == '__main__':
    main()
