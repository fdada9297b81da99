"""Rows of MP-Former's Table 1: python tools/analysis_tools/query_consistency.py CONFIG CHECKPOINT.

For the queries of a test (matching part) and, with MP-Former's head, for its mask-piloted queries
on the ground truth without noise: mIoU-L, the agreement of a query's masks in consecutive decoder
layers, and Util, the share of segments that a layer matches to the same query as the last layer.
Both in percent, means over the test images. The mask-piloted queries are matched like the others
for this (the star of Table 1).
"""
import argparse

from mmpanseg.engine import UsageError, add_model_options, import_mmdet, positive, run_tool

TITLES = {'matching': 'matching part', 'piloted': 'mask-piloted part'}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Rows of MP-Former's Table 1 for a model")
    add_model_options(parser)
    parser.add_argument('--num-images', type=positive, help='number of first images (default: all)')
    parser.add_argument('--match-on', choices=['points', 'masks'], default='points',
                        help='pixels on which matching compares masks: fixed points, or all '
                        '(default: points)')
    return parser.parse_args()


def table(rows: dict[str, dict[str, float]]) -> str:
    """Format metrics by part as a table, one column per decoder layer."""
    layers = range(1, max(int(name.split('_')[1]) for row in rows.values() for name in row) + 1)
    lines = [f'{"":<18}{"layer":>8}' + ''.join(f'{i:>7}' for i in layers)]
    for part, row in rows.items():
        star = '*' if part == 'piloted' else ''
        for title, name, label in ((TITLES[part], 'mIoU-L', 'mIoU-L'), ('', 'Util', 'Util' + star)):
            cells = (f'{row[f"{name}_{i}"]:7.1f}' if f'{name}_{i}' in row else f'{"-":>7}'
                     for i in layers)
            lines.append(f'{title:<18}{label:>8}' + ''.join(cells))
    return '\n'.join(lines)


def main() -> None:
    args = parse_args()
    import_mmdet()
    from mmengine.utils import track_iter_progress

    from mmpanseg.analysis.trained_model import load_trained
    from mmpanseg.evaluation import QueryConsistencyMetric, check_traceable, trace_queries

    model, loader = load_trained(args)
    try:
        check_traceable(model)
    except ValueError as error:
        raise UsageError(str(error)) from error
    metrics = {part: QueryConsistencyMetric() for part in model.panoptic_head.query_parts}
    count = min(args.num_images or len(loader), len(loader))
    batches = zip(range(count), loader)
    for _, data in track_iter_progress((batches, count)):
        for part, metric in metrics.items():
            try:
                metric.process(data, trace_queries(model, data, part, args.match_on))
            except ValueError as error:
                raise UsageError(str(error)) from error
    print('\n' + table({part: metric.evaluate(len(loader.dataset))
                        for part, metric in metrics.items()}))


if __name__ == '__main__':
    run_tool(main)
