"""The configs of the library, in an installed package or beside a checkout, and their names."""
import difflib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import mmpanseg
from mmpanseg.engine.command_line import UsageError

# Names that an error text lists.
_LISTED = 8


def find_configs() -> Path:
    """Find the folder of configs.

    Returns:
        the folder in the installed package, else that of the checkout.

    Raises:
        UsageError: there is none.
    """
    package = Path(mmpanseg.__file__).resolve().parent
    for folder in (package / '.mim/configs', package.parent / 'configs'):
        if (folder / '_base_').is_dir():
            return folder.resolve()
    raise UsageError(f'{package} has no configs: install the wheel of mmpanseg, or a checkout '
                     'with pip install -e')


@cache
def config_paths(folder: Path) -> dict[str, Path]:
    """List the configs of models in a folder of :func:`find_configs`, by their names."""
    return {path.stem: path for path in sorted(folder.rglob('*.py'))
            if '_base_' not in path.relative_to(folder).parts}


def select_name(text: str, names: Iterable[str]) -> str:
    """Select the name that a text stands for.

    Args:
        text: one of the names, or the start of exactly one of them.
        names: names of configs and short names.

    Raises:
        UsageError: no name, or several of them, start with the text.
    """
    names = list(names)
    if text in names:
        return text
    found = [name for name in names if name.startswith(text)] if text else []
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f'{text} is the start of {len(found)} names: {_listed(found)}; '
                         'write more of one')
    near = difflib.get_close_matches(text, names, n=_LISTED, cutoff=0.6)
    raise UsageError(
        f'{text} is no config, no checkpoint, no folder and no name of a model; '
        + (f'near names are {_listed(near)}' if near else '`mmpanseg models` lists all names'))


def _listed(names: list[str]) -> str:
    rest = len(names) - _LISTED
    return ', '.join(names[:_LISTED]) + (f' and {rest} more' if rest > 0 else '')
