"""Train a model: python tools/train.py CONFIG [options]."""
import argparse

from mmpanseg.engine import add_run_options, import_mmdet, run_tool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Train a model')
    parser.add_argument('config', help='config file')
    parser.add_argument('--amp', action='store_true', help='mixed precision (bfloat16 on a CPU)')
    parser.add_argument('--auto-scale-lr', action='store_true',
                        help='scale the learning rate to the number of images per step of this run')
    parser.add_argument('--resume', nargs='?', const='auto', metavar='CHECKPOINT',
                        help='continue from a checkpoint; without a value, from the latest one '
                        'in the work dir')
    parser.add_argument('--detect-anomaly', action='store_true',
                        help='search for the module and the operation that make NaN; slow')
    parser.add_argument('--no-data-check', action='store_true',
                        help='start without a check of the classes and of the first images')
    add_run_options(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    import_mmdet()
    from mmpanseg.engine.launch import read_config
    from mmpanseg.engine.training import build_training

    runner = build_training(
        read_config(args), args.launcher, resume=args.resume, amp=args.amp,
        auto_scale_lr=args.auto_scale_lr, detect_anomaly=args.detect_anomaly,
        data_check=not args.no_data_check)
    runner.train()


if __name__ == '__main__':
    run_tool(main)
