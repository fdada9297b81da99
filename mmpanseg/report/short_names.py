"""Names in place of paths on pages, which are shared: folders are nobody else's business.

``report.json``, ``images.jsonl`` and ``comparison.json`` have the whole paths, which a repetition
of the run needs.
"""
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from urllib.parse import urlsplit

# the folders of an absolute path, of Windows as well; not those of a URL, nor the / of an and/or
_FOLDERS = re.compile(r'(?<![\w.:/\\~])(?:~|[A-Za-z]:)?(?:[/\\][^\s/\\:,;"\'()<>]+)+(?=[/\\])[/\\]')


def short_sources(source: Mapping[str, str]) -> dict[str, str]:
    """Shorten where the results of a report come from.

    Args:
        source: see :attr:`mmpanseg.report.records.Summary.source`.

    Returns:
        the same keys -> name of the file, of the last folder, or of the file of a URL. Weights that
        are called like their model, as those of published models are, have its name.
    """
    names = {key: text if key == 'split' else _name(text) for key, text in source.items()}
    if 'config' in names and PurePosixPath(names.get('checkpoint', '')).stem == names['config']:
        names['checkpoint'] = names['config']
    return names


def without_folders(text: str) -> str:
    """Shorten the absolute paths in a sentence to names.

    Args:
        text: such as the text of an error. Of a path with blanks, folders up to a blank remain.
    """
    return _FOLDERS.sub('', text)


def _name(text: str) -> str:
    # a query may have a key that nobody else should have
    path = urlsplit(text).path if '://' in text else text.replace('\\', '/')
    return PurePosixPath(path).name or text
