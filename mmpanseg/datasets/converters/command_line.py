"""The command lines of the converters."""
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path


def make_parser(description: str, splits: Sequence[str], source: str) -> ArgumentParser:
    """Options that all converters have.

    Args:
        description: what the tool does.
        splits: those that are converted by default.
        source: help text of the folder to read.
    """
    parser = ArgumentParser(description=description)
    parser.add_argument('source', help=source)
    parser.add_argument('--out', metavar='FOLDER',
                        help='folder to write to (default: the one that is read)')
    parser.add_argument('--splits', nargs='+', metavar='SPLIT', default=list(splits),
                        help=f'splits to convert (default: {" ".join(splits)})')
    parser.add_argument('--workers', type=int, default=1, help='processes (default: 1)')
    return parser


def run_converter(convert: Callable[..., int], args: Namespace,
                  options: dict | None = None) -> None:
    """Convert each split; mistakes of the user end in one line and exit status 1.

    Args:
        convert: called with source, target, split, workers and the options.
        args: parsed arguments of :func:`make_parser`.
        options: further arguments.
    """
    for split in args.splits:
        print(f'{split}:')
        try:
            count = convert(args.source, args.out or args.source, split, workers=args.workers,
                            **(options or {}))
        except (ValueError, FileNotFoundError) as error:
            sys.exit(f'\n{Path(sys.argv[0]).name}: error: {error}')
        print(f'\n{count} images')
