"""Fusion heads and their thresholds compared on one trained model, without running it again.

    python tools/analysis_tools/sweep_fusion.py save CONFIG CHECKPOINT FOLDER
    python tools/analysis_tools/sweep_fusion.py score FOLDER

`save` runs the model once over the test data and keeps what it predicts before fusion: class
probabilities, and mask logits in half precision. `score` fuses these again and again and prints
PQ in the form of Panoptic SegFormer's Tables B.2 (procedures), B.3 (alpha and beta of mask-wise
merging) and B.4 (its thresholds).
"""
import argparse
from itertools import islice

from mmengine.registry import init_default_scope
from mmengine.utils import track_iter_progress

import mmpanseg  # noqa: F401  before mmdet: makes mmcv importable without compiled operators
from mmpanseg.analysis.fusion_sweep import table_b2, table_b3, table_b4
from mmpanseg.analysis.raw_outputs import RawOutputs, save_raw_outputs
from mmpanseg.analysis.trained_model import add_model_options, load_trained
from mmpanseg.engine import UsageError, positive, run_tool

TABLES = ('procedures', 'exponents', 'thresholds')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Compare fusion heads on saved outputs')
    commands = parser.add_subparsers(dest='command', required=True)
    save = commands.add_parser('save', help='run a model and keep its outputs')
    add_model_options(save)
    save.add_argument('folder', help='where the outputs go')
    save.add_argument('--num-images', type=positive, help='only the first images')
    save.add_argument('--min-score', type=float, default=0.0,
                      help='leave out queries whose best class is below this')
    score = commands.add_parser('score', help='fuse saved outputs, and print tables')
    score.add_argument('folder', help='where the outputs are')
    score.add_argument('--tables', nargs='+', choices=TABLES, default=TABLES)
    score.add_argument('--t-cnf', type=float, default=0.25,
                       help='least score or confidence in the table of procedures')
    score.add_argument('--t-keep', type=float, default=0.6,
                       help='least share of a mask in the table of procedures')
    score.add_argument('--stuff-area', type=int, default=64 * 64,
                       help="the heuristic's least area of stuff, in pixels")
    return parser.parse_args()


def save(args: argparse.Namespace) -> None:
    model, loader = load_trained(args)
    count = min(args.num_images or len(loader), len(loader))
    batches = track_iter_progress((islice(loader, count), count))
    number = save_raw_outputs(model, batches, args.folder, model.cfg.model.panoptic_fusion_head,
                              args.min_score)
    print(f'\noutputs for {number} images are in {args.folder}')


def score(args: argparse.Namespace) -> None:
    init_default_scope('mmdet')
    raw = RawOutputs(args.folder)
    print(f'{len(raw)} images')
    if 'procedures' in args.tables:
        print('PQ by procedure (Table B.2)\n' + table_b2(
            raw, t_cnf=args.t_cnf, t_keep=args.t_keep, stuff_area_limit=args.stuff_area))
    if 'exponents' in args.tables:
        print('Mask-wise merging: PQ by alpha and beta (Table B.3)\n' + table_b3(raw))
    if 'thresholds' in args.tables:
        print('Mask-wise merging: PQ by t_cnf and t_keep (Table B.4)\n' + table_b4(raw))


def main() -> None:
    args = parse_args()
    try:
        dict(save=save, score=score)[args.command](args)
    except (FileNotFoundError, ValueError) as error:
        raise UsageError(str(error)) from error


if __name__ == '__main__':
    run_tool(main)
