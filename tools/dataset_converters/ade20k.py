"""Convert ADE20K (ADEChallengeData2016) to COCO panoptic and COCO instance format."""
from mmpanseg.datasets.converters import convert_ade20k
from mmpanseg.datasets.converters.common import make_parser, run_converter


def main() -> None:
    parser = make_parser(__doc__, ('train', 'val'),
                         'folder with images/, annotations/ and annotations_instance/')
    run_converter(convert_ade20k, parser.parse_args())


if __name__ == '__main__':
    main()
