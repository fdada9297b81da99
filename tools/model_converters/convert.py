"""Convert a published checkpoint: python tools/model_converters/convert.py SRC DST [options].

SRC is a file .pth, .pkl, .bin, .safetensors, or a folder of transformers. Only its tensors are
read, no code in it is run. With --config the result is compared with the config's model, so that
it loads without missing and unused tensors. See docs/checkpoints.md for the sources.
"""
import argparse

from mmpanseg.engine import add_trust_option, import_mmdet, run_tool
from mmpanseg.engine.command_line import CLASS_ORDERS, SOURCES


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Convert a published checkpoint')
    parser.add_argument('src', help='checkpoint file, or folder of transformers')
    parser.add_argument('dst', help='file to write, .pth')
    parser.add_argument('--source', choices=SOURCES,
                        help='code base that wrote the checkpoint (default: derived from its '
                        'parameter names)')
    parser.add_argument('--config', help='config of the model: the result is compared with it, '
                        'and the order of class labels is derived from it and from the source')
    parser.add_argument('--class-order', metavar='NAME', help='order of labels in the '
                        f'checkpoint, if it cannot be derived: {", ".join(CLASS_ORDERS)}, "same" '
                        '(labels remain unchanged), or the published label of each label here: '
                        '11,12,0,1,...')
    add_trust_option(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    import_mmdet()
    from mmpanseg.analysis.checkpoint_conversion import convert_to_file

    for line in convert_to_file(args.src, args.dst, args.source, args.config, args.class_order):
        print(line)


if __name__ == '__main__':
    run_tool(main)
