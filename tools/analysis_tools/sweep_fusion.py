"""Comparison of fusion heads and thresholds on the outputs of one trained model.

    python tools/analysis_tools/sweep_fusion.py save CONFIG CHECKPOINT FOLDER
    python tools/analysis_tools/sweep_fusion.py score FOLDER

`save` runs the model once on the test data and writes its outputs before fusion: class
probabilities, and mask logits in half precision. `score` fuses them with each setting and prints PQ
in the form of Panoptic SegFormer's Tables B.2 (procedures), B.3 (alpha and beta of mask-wise
merging) and B.4 (its thresholds).
"""
import argparse
from itertools import islice

from mmpanseg.engine import UsageError, add_model_options, import_mmdet, positive, run_tool

TABLES = ('procedures', 'exponents', 'thresholds')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Compare fusion heads on saved outputs')
    commands = parser.add_subparsers(dest='command', required=True)
    save = commands.add_parser('save', help='run a model and write its outputs')
    add_model_options(save)
    save.add_argument('folder', help='folder for the outputs')
    save.add_argument('--num-images', type=positive, help='number of first images (default: all)')
    save.add_argument('--min-score', type=float, default=0.0,
                      help='omit queries whose best class has a lower probability (default: 0)')
    score = commands.add_parser('score', help='fuse saved outputs, and print tables')
    score.add_argument('folder', help='folder of `save`')
    score.add_argument('--tables', nargs='+', choices=TABLES, default=TABLES)
    score.add_argument('--t-cnf', type=float, default=0.25,
                       help='minimum score or confidence in the table of procedures '
                       '(default: 0.25)')
    score.add_argument('--t-keep', type=float, default=0.6,
                       help='minimum visible share of a mask in the table of procedures '
                       '(default: 0.6)')
    score.add_argument('--stuff-area', type=int, default=64 * 64,
                       help="the heuristic procedure's minimum area of stuff, in pixels "
                       '(default: 4096)')
    return parser.parse_args()


def save(args: argparse.Namespace) -> None:
    from mmengine.utils import track_iter_progress

    from mmpanseg.analysis.raw_outputs import save_raw_outputs
    from mmpanseg.analysis.trained_model import load_trained

    model, loader = load_trained(args)
    count = min(args.num_images or len(loader), len(loader))
    batches = track_iter_progress((islice(loader, count), count))
    number = save_raw_outputs(model, batches, args.folder, model.cfg.model.panoptic_fusion_head,
                              args.min_score)
    print(f'\noutputs for {number} images are in {args.folder}')


def score(args: argparse.Namespace) -> None:
    from mmengine.registry import init_default_scope

    from mmpanseg.analysis.fusion_sweep import table_b2, table_b3, table_b4
    from mmpanseg.analysis.raw_outputs import RawOutputs

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
    import_mmdet()
    try:
        dict(save=save, score=score)[args.command](args)
    except (FileNotFoundError, ValueError) as error:
        raise UsageError(str(error)) from error


if __name__ == '__main__':
    run_tool(main)
