"""Prepare a checkpoint for publication: python tools/publish_model.py CHECKPOINT OUT [options].

Keeps the weights and their description (config, classes, iterations), removes the state of the
optimizer, and writes {OUT}_{date}-{sha256}.pth with the first 8 digits of the file's digest, or the
same as .safetensors.
"""
import argparse
from pathlib import Path

from mmpanseg.engine import UsageError, add_trust_option, import_mmdet, run_tool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Prepare a checkpoint for publication')
    parser.add_argument('checkpoint', help='file from training or from convert.py')
    parser.add_argument('out', help='path of the result, without date, digest and ending')
    parser.add_argument('--weights', choices=['averaged', 'last'], help='of a training with '
                        'EMAHook: the moving average (default) or those of the last step')
    parser.add_argument('--format', choices=['pth', 'safetensors'], default='pth',
                        help='of the file (default: pth)')
    add_trust_option(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    import_mmdet()
    from mmpanseg.checkpoints import CheckpointError
    from mmpanseg.checkpoints.publish import published_content, sha256, write_published
    from mmpanseg.checkpoints.weight_files import read_checkpoint

    averaged = None if args.weights is None else args.weights == 'averaged'
    try:
        content = published_content(read_checkpoint(args.checkpoint), averaged)
    except CheckpointError as error:
        text = str(error).removeprefix(f'{args.checkpoint}: ')
        raise UsageError(f'{args.checkpoint}: {text}') from error
    path = write_published(content, Path(args.out.removesuffix(f'.{args.format}')),
                           suffix=f'.{args.format}')
    print(f'{path}: {len(content["state_dict"])} tensors, {path.stat().st_size / 2**20:.1f} MiB')
    print(f'sha256 {sha256(path)}')


if __name__ == '__main__':
    run_tool(main)
