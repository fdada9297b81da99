"""The folder of downloaded and converted files."""
import os
from pathlib import Path

VARIABLE = 'MMPANSEG_CACHE'


def cache_folder() -> Path:
    """Return the cache folder of this user; it is not created.

    Returns:
        ``$MMPANSEG_CACHE``, else ``$XDG_CACHE_HOME/mmpanseg``, else ``~/.cache/mmpanseg``.
    """
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser().absolute()
    shared = os.environ.get('XDG_CACHE_HOME')
    # a relative path there has no effect, as the specification of these folders says
    base = Path(shared) if shared and os.path.isabs(shared) else Path.home() / '.cache'
    return base / 'mmpanseg'
