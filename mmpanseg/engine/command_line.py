"""Options of the command lines, and mistakes of their users.

This module imports neither torch nor mmengine, so that ``--help`` of a tool answers at once. A tool
parses its arguments first and imports the rest of the library in ``main``.
"""
import contextlib
import importlib
import io
import os
import sys
import warnings
from argparse import SUPPRESS, Action, ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mmpanseg.engine.process_errors import named_rank
from mmpanseg.utils.deferred_imports import deferred_imports

# The keys of mmpanseg.checkpoints.SOURCES and .class_order.PUBLISHED, whose import takes seconds.
SOURCES = ('huggingface', 'kmax_deeplab', 'mask2former', 'mp_former', 'mmdet', 'panoptic_segformer')
CLASS_ORDERS = ('cityscapes', 'ade20k', 'mapillary', 'coco')


class UsageError(Exception):
    """A mistake in a command line or a config; its text is one line."""


def one_line(error: Exception) -> str:
    """Describe an error without line breaks.

    Args:
        error: any exception.

    Returns:
        The text of a ValueError or OSError; type and text of all others.
    """
    text = ' '.join(str(error.args[0] if len(error.args) == 1 else error).split())
    plain = isinstance(error, (ValueError, OSError)) and text
    return text if plain else f'{type(error).__name__}: {text}'


@contextlib.contextmanager
def user_mistakes() -> Iterator[None]:
    """Convert the errors of a config while a run is set up.

    Raises:
        UsageError: in place of another error.
    """
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError, OSError, ImportError) as error:
        raise UsageError(one_line(error)) from error


class DictAction(Action):
    """Config overrides of the form KEY=VALUE, parsed by mmengine's ``DictAction``.

    Raises:
        UsageError: an argument contains no ``=``.
    """

    def __call__(self, parser: ArgumentParser, namespace: Namespace,
                 values: str | Sequence[Any] | None, option_string: str | None = None) -> None:
        for value in values or ():
            if '=' not in value:
                raise UsageError(f'--cfg-options {value}: write KEY=VALUE, without spaces around =')
        from mmengine.config import DictAction as ConfigOverrides

        parse = ConfigOverrides(self.option_strings, self.dest, nargs=self.nargs)
        parse(parser, namespace, values, option_string)


def positive(text: str) -> int:
    """Convert the text of an option to a count of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f'must be a number of at least 1, got {text}')
    return int(text)


def add_config_options(parser: ArgumentParser) -> None:
    """Add ``--cfg-options``, overrides of the config."""
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
                        help='override config entries, e.g. train_cfg.max_iters=100')


class TrustCheckpoint(Action):
    """Sets the environment variable of trusted files, which processes of this tool inherit."""

    def __call__(self, parser: ArgumentParser, namespace: Namespace,
                 values: str | Sequence[Any] | None, option_string: str | None = None) -> None:
        os.environ['MMPANSEG_TRUST_CHECKPOINT'] = '1'  # loading_policy.TRUST_VARIABLE


def add_trust_option(parser: ArgumentParser) -> None:
    """Add ``--trust-checkpoint``."""
    parser.add_argument('--trust-checkpoint', action=TrustCheckpoint, nargs=0, default=SUPPRESS,
                        help='also load a file of weights that contains code, and run its code')


def add_strict_meta(parser: ArgumentParser) -> None:
    """Add ``--strict-meta``."""
    parser.add_argument('--strict-meta', action='store_true',
                        help='refuse a checkpoint that was trained with other classes, '
                        'normalization, channels, padding or test size than the config has '
                        '(default: warn)')


def add_model_options(parser: ArgumentParser) -> None:
    """Add the config, the checkpoint, and overrides of the config."""
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    add_config_options(parser)
    add_trust_option(parser)
    add_strict_meta(parser)


def add_run_options(parser: ArgumentParser) -> None:
    """Add the options of every tool that runs a config: output folder, overrides, launcher."""
    parser.add_argument('--work-dir', help='folder for logs and results '
                        '(default: work_dirs/{name of the config})')
    add_config_options(parser)
    add_trust_option(parser)
    add_strict_meta(parser)
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'],
                        default='none', help='program that started the processes (default: none)')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=SUPPRESS)


def converter_parser(description: str, splits: Sequence[str], source: str) -> ArgumentParser:
    """Create the parser of a dataset converter.

    Args:
        description: what the tool does.
        splits: splits that are converted by default.
        source: help text of the folder to read.

    Returns:
        A parser with the options that all converters share.
    """
    parser = ArgumentParser(description=description)
    parser.add_argument('source', help=source)
    parser.add_argument('--out', metavar='FOLDER',
                        help='folder to write to (default: the folder that is read)')
    parser.add_argument('--splits', nargs='+', metavar='SPLIT', default=list(splits),
                        help=f'splits to convert (default: {" ".join(splits)})')
    parser.add_argument('--workers', type=int, default=1, help='number of processes (default: 1)')
    return parser


def run_converter(convert: Callable[..., int], args: Namespace, **options: Any) -> None:
    """Convert each split; a mistake of the user ends in one line and exit status 1.

    Args:
        convert: called with source, target, split, workers and the options; returns the number of
            images.
        args: parsed arguments of :func:`converter_parser`.
        options: further arguments of ``convert``.
    """
    for split in args.splits:
        print(f'{split}:')
        try:
            count = convert(args.source, args.out or args.source, split, workers=args.workers,
                            **options)
        except (ValueError, FileNotFoundError) as error:
            sys.exit(f'\n{_tool_name()}: error: {error}')
        print(f'\n{count} images')


# Packages and modules whose import statements in mmdet and mmengine take four of five seconds of a
# start, and which almost no run uses.
_DEFERRED_PACKAGES = (
    'albumentations', 'fairscale', 'imagecorruptions', 'imgaug', 'matplotlib', 'nltk', 'pandas',
    'scipy', 'seaborn', 'shapely', 'skimage', 'sklearn', 'terminaltables',
    'torch.distributed.fsdp', 'torch.distributed.optim', 'torch.distributed.rpc', 'transformers')
_DEFERRED_MODULES = (
    'mmdet.models.utils.vlfuse_helper', 'mmengine._strategy.fsdp',
    'mmengine.model.wrappers.fully_sharded_distributed', 'mmengine.optim.optimizer.zero_optimizer')


def import_mmdet() -> None:
    """Import mmdet without its messages about optional packages, and without their imports.

    A package such as transformers is imported when mmdet uses it for the first time, see
    :mod:`mmpanseg.utils.deferred_imports`. What is imported already stays as it is.
    """
    with (warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()),
          deferred_imports(_DEFERRED_PACKAGES, _DEFERRED_MODULES)):
        warnings.filterwarnings('ignore', message='faster_coco_eval is not installed')
        for name in ('evaluation', 'models', 'visualization', 'engine', 'apis'):
            importlib.import_module(f'mmdet.{name}')


def run_tool(main: Callable[[], None], name: str | None = None) -> None:
    """Run a tool; a mistake of its user, such as a missing file, ends in one line and status 1.

    The errors of one of several processes name its rank, see :mod:`.process_errors`.

    Args:
        main: parses the arguments and does everything else.
        name: with which the line begins; by default that of the script.
    """
    with named_rank():
        _end_mistakes_in_one_line(main, name or _tool_name())


_MISTAKES = {'mmpanseg.checkpoints.sources': 'CheckpointError',
             'mmpanseg.pages.own_folder': 'ForeignFilesError',
             'mmpanseg.utils.atomic_files': 'FileWriteError'}


def mistake_text(error: Exception) -> str | None:
    """Describe an error that the user of a command line can repair.

    Args:
        error: any error.

    Returns:
        One line for a :class:`UsageError`, a file that is missing or cannot be written, a folder of
        others, and a checkpoint that does not fit; None for all others, which are bugs.
    """
    if isinstance(error, UsageError):
        return str(error)
    # a module that was never imported has raised no error; its import takes seconds
    known = [getattr(sys.modules[module], name) for module, name in _MISTAKES.items()
             if module in sys.modules]
    return one_line(error) if isinstance(error, (FileNotFoundError, *known)) else None


def _end_mistakes_in_one_line(main: Callable[[], None], name: str) -> None:
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        text = mistake_text(error)
        if text is None:
            raise
        sys.exit(f'{name}: error: {text}')


def _tool_name() -> str:
    return sys.argv[0].replace('\\', '/').rpartition('/')[2]
