"""Evaluate a model: python tools/test.py CONFIG CHECKPOINT [options]."""
from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mmpanseg.engine import UsageError, add_run_options, import_mmdet, run_tool, user_mistakes

if TYPE_CHECKING:
    from mmengine.config import Config

HOOK = 'mmpanseg.PanopticVisualizationHook'


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


def draw_predictions(cfg: Config, args: argparse.Namespace) -> None:
    """Switch on the visualization hook; mmdet's own overwrites pictures of images of one name."""
    hook = cfg.default_hooks.setdefault('visualization', dict(type=HOOK))
    if hook.type.split('.')[-1] == 'DetVisualizationHook':
        hook.type = HOOK
    hook.draw = True
    if args.show:
        hook.update(show=True, wait_time=args.wait_time)
    if args.show_dir:
        hook.test_out_dir = args.show_dir


def main() -> None:
    args = parse_args()
    import_mmdet()
    from mmpanseg.apis import use_tta
    from mmpanseg.engine.launch import build_runner, check_checkpoint, read_config
    from mmpanseg.engine.runner import DumpResults
    from mmpanseg.visualization import NoDisplayError, require_display

    if args.out is not None and not args.out.endswith(('.pkl', '.pickle')):
        raise UsageError(f'--out {args.out}: the name must end in .pkl or .pickle')
    if args.show:
        try:
            require_display()
        except NoDisplayError as error:
            raise UsageError(str(error)) from error
    cfg = read_config(args)
    cfg.load_from = check_checkpoint(args.checkpoint, args.config)
    if args.show or args.show_dir:
        draw_predictions(cfg, args)
    if args.tta:
        use_tta(cfg)
    with user_mistakes():
        runner = build_runner(cfg, args.launcher)
    if args.out is not None:
        runner.test_evaluator.metrics.append(DumpResults(out_file_path=args.out))
    runner.test()


if __name__ == '__main__':
    run_tool(main)
