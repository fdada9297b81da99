"""Evaluate a model: python tools/test.py CONFIG CHECKPOINT [options]."""
import argparse

from mmpanseg.engine import add_run_options, import_mmdet, run_tool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Evaluate a model')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument('--out', metavar='FILE.pkl', help='also write the predictions to a file')
    parser.add_argument('--tta', action='store_true',
                        help='test-time augmentation: flips, and the scales of the config')
    parser.add_argument('--show', action='store_true', help='show predictions in a window')
    parser.add_argument('--show-dir', help='write pictures of the predictions to '
                        '{work dir}/{time stamp}/{show dir}')
    parser.add_argument('--wait-time', type=float, default=2,
                        help='seconds that each window of --show is open (default: 2)')
    add_run_options(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    import_mmdet()
    from mmpanseg.apis.testing import build_test, check_test_outputs
    from mmpanseg.engine.launch import read_config

    check_test_outputs(args.out, args.show)
    runner = build_test(
        read_config(args), args.checkpoint, args.config, args.launcher, out=args.out, tta=args.tta,
        show=args.show, show_dir=args.show_dir, wait_time=args.wait_time)
    runner.test()


if __name__ == '__main__':
    run_tool(main)
