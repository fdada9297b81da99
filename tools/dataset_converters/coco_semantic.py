"""Write maps of semantic labels from COCO's panoptic annotation."""
from mmpanseg.datasets.converters import convert_coco_semantic
from mmpanseg.datasets.converters.common import make_parser, run_converter


def main() -> None:
    parser = make_parser(__doc__, ('train2017', 'val2017'),
                         'folder with annotations/panoptic_{train,val}2017{.json,/}')
    run_converter(convert_coco_semantic, parser.parse_args())


if __name__ == '__main__':
    main()
