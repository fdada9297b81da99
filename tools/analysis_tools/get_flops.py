"""Parameters and FLOPs by part: python tools/analysis_tools/get_flops.py CONFIG [--size H W].

One FLOP is one multiply-add, as in papers; see mmpanseg/analysis/cost.py for what is counted. The
masks of all queries are part of the head. Images are padded as the model pads them. Tensors are on
the meta device: no weights are loaded, and large models and images need no memory.
"""
import argparse

from mmpanseg.engine import (
    UsageError,
    add_config_options,
    import_mmdet,
    run_tool,
    user_mistakes,
)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Parameters and FLOPs of a model by part')
    parser.add_argument('config', help='config file')
    parser.add_argument('--size', type=int, nargs=2, metavar=('H', 'W'),
                        help='of the image that the network sees (default: the mean over typical '
                        'COCO images with a shorter side of 800, a longer side of at most 1333)')
    add_config_options(parser)
    return parser.parse_args()


def table(parameters: dict[str, int], flops: dict[str, float]) -> str:
    """Format both counts as a table, one line per part."""
    lines = [f'{"part":<22}{"parameters (M)":>16}{"FLOPs (G)":>12}']
    lines += [f'{part:<22}{parameters[part] / 1e6:16.3f}{flops[part] / 1e9:12.1f}'
              for part in parameters]
    return '\n'.join(lines)


def main() -> None:
    args = parse_args()
    import_mmdet()
    import torch
    from mmengine.registry import init_default_scope

    from mmpanseg.analysis import build_on_meta, coco_test_sizes, count_parameters, mean_flops
    from mmpanseg.engine.launch import check_model_config, load_config

    if args.size is not None and min(args.size) < 32:
        raise UsageError(f'--size {args.size[0]} {args.size[1]}: both sides must be at least 32')
    cfg = load_config(args.config, args.cfg_options)
    check_model_config(cfg, args.config)
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    with user_mistakes():
        model = build_on_meta(cfg.model)
    sizes = coco_test_sizes() if args.size is None else {tuple(args.size): 1.0}
    channels = cfg.model.backbone.get('in_channels', 3)
    padded = {size: tuple(model.pad(torch.empty(1, channels, *size, device='meta')).shape[2:])
              for size in sizes}
    print('\n'.join(f'{share:4.0%} images of {" x ".join(map(str, size))} (height x width), padded '
                    f'to {" x ".join(map(str, padded[size]))}' for size, share in sizes.items()))
    print(table(count_parameters(model), mean_flops(model, sizes, channels)))


if __name__ == '__main__':
    run_tool(main)
