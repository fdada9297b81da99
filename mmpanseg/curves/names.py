"""Names of runs that are short, and distinct in one picture."""
import os.path
import re
from collections.abc import Sequence
from pathlib import Path

# a longer name loses what all names have in common
_LONG = 20


def run_names(paths: Sequence[Path]) -> list[str]:
    """Name runs by the last parts of their paths that differ.

    Args:
        paths: distinct.

    Returns:
        A distinct name for each path.
    """
    parts = [_parts(path) for path in paths]
    names = [''] * len(parts)
    for depth in range(1, max(map(len, parts), default=0) + 1):
        names = ['/'.join(part[-depth:]) for part in parts]
        if len(set(names)) == len(names):
            break
    return _shortened(names)


def _parts(path: Path) -> tuple[str, ...]:
    """Parts of an absolute path, without the folders that every work dir has."""
    parts = Path(os.path.abspath(path)).parts
    while len(parts) > 2 and (parts[-1] == 'vis_data' or parts[-1].endswith('.json')):
        parts = parts[:-1]
    return parts[1:] or parts


def _shortened(names: Sequence[str]) -> list[str]:
    """Remove words that all names begin or end with, if names are long."""
    if len(names) < 2 or max(map(len, names)) <= _LONG:
        return list(names)
    words = [re.findall(r'[^_\-/]+[_\-/]*', name) for name in names]
    first = _common(words)
    last = _common([list(reversed(word[first:])) for word in words])
    cut = [''.join(word[first:len(word) - last]).rstrip('_-/') for word in words]
    # one name is the beginning of another: the whole names say more
    return cut if all(cut) and len(set(cut)) == len(cut) else list(names)


def _common(lists: Sequence[Sequence[str]]) -> int:
    count = 0
    for words in zip(*lists):
        if len({word.rstrip('_-/') for word in words}) > 1:
            break
        count += 1
    return count
