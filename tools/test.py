"""Evaluate a model: python tools/test.py CONFIG CHECKPOINT [options]."""
import argparse
import os
import sys

import mmpanseg  # noqa: F401  before mmdet: makes mmcv importable without compiled operators
from mmdet.engine.hooks.utils import trigger_visualization_hook
from mmdet.registry import RUNNERS
from mmengine.config import DictAction
from mmengine.runner import Runner

from mmpanseg.engine import (DumpResults, UsageError, check_checkpoint, load_config,
                             set_launcher, set_work_dir)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Evaluate a model')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument('--work-dir', help='folder for logs and metrics '
                        '(default: work_dirs/{name of the config})')
    parser.add_argument('--out', metavar='FILE.pkl', help='also write the predictions to a file')
    parser.add_argument('--show', action='store_true', help='show predictions in a window')
    parser.add_argument('--show-dir', help='write pictures of the predictions to '
                        '{work dir}/{time stamp}/{show dir}')
    parser.add_argument('--wait-time', type=float, default=2,
                        help='seconds each window stays with --show')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='override config entries, e.g. test_dataloader.num_workers=0')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'],
                        default='none', help='how the processes were started')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0,
                        help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    if args.out is not None and not args.out.endswith(('.pkl', '.pickle')):
        raise UsageError(f'--out {args.out}: the name must end in .pkl or .pickle')
    cfg = load_config(args.config, args.cfg_options)
    set_work_dir(cfg, args.work_dir, args.config)
    cfg.load_from = check_checkpoint(args.checkpoint)
    if args.show or args.show_dir:
        trigger_visualization_hook(cfg, args)
    set_launcher(cfg, args.launcher)
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    if args.out is not None:
        runner.test_evaluator.metrics.append(DumpResults(out_file_path=args.out))
    runner.test()


if __name__ == '__main__':
    try:
        main()
    except UsageError as error:
        sys.exit(f'test.py: error: {error}')
