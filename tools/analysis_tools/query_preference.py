"""Table B.6 of Panoptic SegFormer: what every query prefers, and how precise it is.

    python tools/analysis_tools/query_preference.py CONFIG CHECKPOINT [--out FILE]

P_t of a query is the share of things among the segments it gives on the test data (Equation 1 of
the appendix). Queries are put in ten groups by P_t; for each group, how many of its stuff and of
its thing segments are right. --out writes P_t and the counts of every query as JSON.
"""
import argparse
from itertools import islice

from mmengine.fileio import dump
from mmengine.utils import track_iter_progress

import mmpanseg  # noqa: F401  before mmdet: makes mmcv importable without compiled operators
from mmpanseg.analysis.query_preference import count_queries, table_b6
from mmpanseg.analysis.trained_model import add_model_options, load_trained
from mmpanseg.engine import positive, run_tool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Preference and precision of queries')
    add_model_options(parser)
    parser.add_argument('--num-images', type=positive, help='only the first images')
    parser.add_argument('--out', help='JSON file for the numbers of every query')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    model, loader = load_trained(args)
    count = min(args.num_images or len(loader), len(loader))
    counts = count_queries(model, track_iter_progress((islice(loader, count), count)))
    print('\n' + table_b6(counts))
    if args.out:
        dump([dict(query=number, P_t=None if preference != preference else preference,
                   thing=dict(right=right[0], wrong=wrong[0]),
                   stuff=dict(right=right[1], wrong=wrong[1]))
              for number, (preference, right, wrong) in enumerate(zip(
                  counts.preference.tolist(), counts.right.tolist(), counts.wrong.tolist()))],
             args.out)


if __name__ == '__main__':
    run_tool(main)
