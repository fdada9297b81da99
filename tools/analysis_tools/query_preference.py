"""Table B.6 of Panoptic SegFormer: preference and precision of each query.

    python tools/analysis_tools/query_preference.py CONFIG CHECKPOINT [--out FILE]

P_t of a query is the share of things among its segments on the test data (Equation 1 of the
appendix). Queries are divided into ten groups by P_t; for each group the table lists how many of
its stuff and thing segments are right. --out writes P_t and the counts of each query as JSON.
"""
import argparse
from itertools import islice

from mmpanseg.engine import add_model_options, import_mmdet, positive, run_tool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Preference and precision of queries')
    add_model_options(parser)
    parser.add_argument('--num-images', type=positive, help='number of first images (default: all)')
    parser.add_argument('--out', help='JSON file for the numbers of each query')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    import_mmdet()
    from mmengine.fileio import dump
    from mmengine.utils import track_iter_progress

    from mmpanseg.analysis.query_preference import count_queries, table_b6
    from mmpanseg.analysis.trained_model import load_trained

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
