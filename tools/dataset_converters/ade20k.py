"""Convert ADE20K (ADEChallengeData2016) to COCO panoptic and COCO instance format."""
from mmpanseg.engine.command_line import converter_parser, import_mmdet, run_converter


def main() -> None:
    args = converter_parser(
        __doc__, ('train', 'val'),
        'folder with images/, annotations/ and annotations_instance/').parse_args()
    import_mmdet()
    from mmpanseg.datasets.converters import convert_ade20k

    run_converter(convert_ade20k, args)


if __name__ == '__main__':
    main()
