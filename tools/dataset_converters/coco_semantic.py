"""Write semantic label maps from COCO's panoptic annotation."""
from mmpanseg.engine.command_line import converter_parser, import_mmdet, run_converter


def main() -> None:
    args = converter_parser(
        __doc__, ('train2017', 'val2017'),
        'folder with annotations/panoptic_{train,val}2017{.json,/}').parse_args()
    import_mmdet()
    from mmpanseg.datasets.converters import convert_coco_semantic

    run_converter(convert_coco_semantic, args)


if __name__ == '__main__':
    main()
