"""Convert the instance PNGs of Mapillary Vistas to COCO panoptic and COCO instance format."""
from mmpanseg.engine.command_line import converter_parser, import_mmdet, run_converter


def main() -> None:
    parser = converter_parser(
        __doc__, ('training', 'validation'),
        'folder with training/, validation/ and config.json or config_v*.json')
    parser.add_argument('--version', choices=['v1.2', 'v2.0'], default='v1.2',
                        help='version of the annotation (default: v1.2)')
    args = parser.parse_args()
    import_mmdet()
    from mmpanseg.datasets.converters import convert_mapillary

    run_converter(convert_mapillary, args, version=args.version)


if __name__ == '__main__':
    main()
