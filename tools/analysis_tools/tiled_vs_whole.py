"""Tiled against whole: python tools/analysis_tools/tiled_vs_whole.py CONFIG CHECKPOINT IMAGE.

Predicts a large image at its own size, once whole and once in overlapping tiles, each in a separate
process. Prints the share of pixels on which both agree, how many of the things across borders of
tiles remain whole, and peak memory and time of both.
"""
import argparse
import multiprocessing
import resource
import time
from pathlib import Path

from mmpanseg.engine import (
    UsageError,
    add_config_options,
    add_strict_meta,
    add_trust_option,
    import_mmdet,
    run_tool,
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Tiled against whole-image inference')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument('image', help='image file')
    parser.add_argument('--tile', nargs=2, type=int, default=[1024, 1024], metavar=('H', 'W'),
                        help='size of the tiles (default: 1024 1024)')
    parser.add_argument('--overlap', type=int, help='pixels that neighboring tiles share '
                        '(default: an eighth of the tile)')
    parser.add_argument('--device', help='e.g. cuda:0 or cpu (default: a GPU if there is one)')
    add_config_options(parser)
    add_trust_option(parser)
    add_strict_meta(parser)
    return parser.parse_args()


def predict(args: argparse.Namespace, mode: str) -> dict:
    """Predict the image in this process.

    Args:
        args: parsed arguments.
        mode: ``'whole'`` or ``'tile'``.

    Returns:
        Panoptic map [H, W], tiling, peak memory in MB, and seconds.
    """
    import_mmdet()
    import torch

    from mmpanseg.apis import PanopticInferencer, use_tiles
    from mmpanseg.engine.launch import load_config

    cfg = load_config(args.config, args.cfg_options)
    # In both modes images keep their size.
    use_tiles(cfg, args.tile, args.overlap)
    cfg.model.test_cfg.mode = mode
    inferencer = PanopticInferencer(
        cfg, args.checkpoint, device=args.device, show_progress=False,
        strict_meta=args.strict_meta)
    start = time.perf_counter()
    sample = inferencer(args.image, return_datasamples=True)['predictions'][0]
    seconds = time.perf_counter() - start
    if torch.cuda.is_available() and next(inferencer.model.parameters()).is_cuda:
        peak = torch.cuda.max_memory_allocated() / 2**20
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    tiling = inferencer.model.tiling
    return dict(map=sample.pred_panoptic_seg.sem_seg[0].cpu().numpy(), seconds=seconds, peak=peak,
                tiling=tiling and (tiling.tile, tiling.overlap))


def report(whole: dict, tiled: dict) -> str:
    """Format the comparison of the two results of :func:`predict`."""
    import numpy as np

    from mmpanseg.analysis.tile_agreement import compare_tiled
    from mmpanseg.models.inference.tile_grid import tile_grid

    tiles = tile_grid(whole['map'].shape, *tiled['tiling'])
    found = compare_tiled(whole['map'], tiled['map'], tiles)
    height, width = whole['map'].shape
    (tile_height, tile_width), overlap = tiled['tiling']
    things = [np.count_nonzero(np.unique(result['map']) >= 1000) for result in (whole, tiled)]
    lines = [f'image {width}x{height}, {len(tiles)} tiles of {tile_width}x{tile_height} '
             f'(width x height), overlap {overlap}',
             f'pixels with the same segment: {100 * found.pixels:.2f} %',
             f'pixels with the same class:   {100 * found.labels:.2f} %',
             f'things across borders of tiles that remain whole: {found.kept_whole} of '
             f'{found.crossing}', f'{"":<8}{"things":>8}{"peak MB":>10}{"seconds":>10}']
    for name, result, count in zip(('whole', 'tiled'), (whole, tiled), things):
        lines.append(f'{name:<8}{count:>8}{result["peak"]:>10.0f}{result["seconds"]:>10.1f}')
    return '\n'.join(lines)


def main() -> None:
    args = parse_args()
    import_mmdet()
    from mmpanseg.engine.launch import (
        check_checkpoint,
        check_device,
        check_model_config,
        load_config,
    )

    cfg = load_config(args.config, args.cfg_options)
    check_model_config(cfg, args.config, 'test_dataloader')
    if not (cfg.model.get('test_cfg') or {}).get('panoptic_on', True):
        raise UsageError(f'{args.config} has no panoptic results, which this tool compares: add '
                         '--cfg-options model.test_cfg.panoptic_on=True')
    check_checkpoint(args.checkpoint, args.config)
    check_device(args.device)
    if not Path(args.image).is_file():
        raise UsageError(f'image {args.image} does not exist')
    results = []
    for mode in ('whole', 'tile'):
        # In one process the higher peak would hide the lower one.
        with multiprocessing.get_context('spawn').Pool(1) as pool:
            try:
                results.append(pool.apply(predict, (args, mode)))
            except (TypeError, ValueError) as error:
                raise UsageError(str(error)) from error
    print(report(*results))


if __name__ == '__main__':
    run_tool(main)
