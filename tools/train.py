"""Train a model: python tools/train.py CONFIG [options]."""
import argparse

from mmpanseg.engine import add_run_options, import_mmdet, run_tool, user_mistakes


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
    add_run_options(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    import_mmdet()
    from mmpanseg.engine.hooks.non_finite_hook import use_anomaly_detection
    from mmpanseg.engine.launch import (
        build_runner,
        read_config,
        set_resume,
        use_amp,
        use_auto_scale_lr,
    )

    cfg = read_config(args)
    set_resume(cfg, args.resume)
    if args.amp:
        use_amp(cfg)
    if args.auto_scale_lr:
        use_auto_scale_lr(cfg)
    if args.detect_anomaly:
        use_anomaly_detection(cfg)
    with user_mistakes():
        runner = build_runner(cfg, args.launcher)
    runner.train()


if __name__ == '__main__':
    run_tool(main)
