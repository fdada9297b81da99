"""File names of the result, whatever the names of the source: inside DST, unique everywhere."""
import hashlib
import re
import unicodedata
from collections.abc import Iterable

# bytes of one part of a path, and of a whole relative path; file systems allow 255 and 4096,
# Windows 260 characters together with the folder
LONGEST_PART, LONGEST_NAME = 100, 160
# other characters that Windows refuses, and control characters
_REFUSED = re.compile(r'[<>:"|?*\x00-\x1f\x7f]')
_DRIVE = re.compile(r'^[a-zA-Z]:')
_DEVICES = re.compile(r'(con|prn|aux|nul|com\d|lpt\d)(\..*)?', re.IGNORECASE)


def safe_name(name: str) -> str:
    """Return a relative name with ``/`` that is valid on every system and stays in its folder.

    ``..``, ``.``, drive letters and leading slashes are left out, refused characters become ``_``,
    and a part that is too long is shortened to its beginning and a hash of all of it.

    Args:
        name: any text.
    """
    text = unicodedata.normalize('NFC', name.encode('utf-8', 'replace').decode())
    parts = []
    for part in _DRIVE.sub('', text.replace('\\', '/')).split('/'):
        # Windows drops dots and blanks at the end of a name; a leading dot hides the file
        part = _REFUSED.sub('_', part).strip(' ').rstrip('.').strip(' ')
        hidden = part.lstrip('.')
        part = hidden if hidden == part else f'_{hidden}' if hidden else ''
        if part:
            parts.append(_short(f'_{part}' if _DEVICES.fullmatch(part) else part, LONGEST_PART))
    joined = '/'.join(parts) or 'unnamed'
    return joined if len(joined.encode()) <= LONGEST_NAME else _short(parts[-1], LONGEST_PART, name)


def unique_names(names: Iterable[str]) -> list[str]:
    """Return a safe name for each name of the source.

    No two are equal without their endings, or on a system that ignores case: images and PNGs of
    segments have the same names. A name that is taken gets ``_2``, ``_3``, ...; no name is also a
    folder of another one.

    Args:
        names: names of the source, in a fixed order.
    """
    taken: set[str] = set()
    folders: set[str] = set()
    result = []
    for name in names:
        *parents, last = safe_name(name).split('/')
        path = ''
        for part in parents:
            path = _free(f'{path}{part}', '', taken) + '/'
        stem, ending = _split_ending(last)
        candidate = _free(path + stem, ending, taken | folders)
        taken |= {_key(candidate), _key(candidate + ending)}
        parts = _key(candidate).split('/')[:-1]
        folders |= {'/'.join(parts[:count]) for count in range(1, len(parts) + 1)}
        result.append(candidate + ending)
    return result


def _free(stem: str, ending: str, taken: set[str]) -> str:
    """Return ``stem``, with a number if it is taken with or without the ending."""
    candidate, number = stem, 1
    while not {_key(candidate), _key(candidate + ending)}.isdisjoint(taken):
        number += 1
        candidate = f'{stem}_{number}'
    return candidate


def _key(name: str) -> str:
    return unicodedata.normalize('NFC', name.casefold())


def _split_ending(name: str) -> tuple[str, str]:
    folder, slash, last = name.rpartition('/')
    stem, dot, ending = last.rpartition('.')
    return (folder + slash + stem, dot + ending) if stem else (name, '')


def _short(part: str, limit: int, whole: str | None = None) -> str:
    """Shorten a part that is too long, or in any case if its hash is that of ``whole``."""
    if whole is None and len(part.encode()) <= limit:
        return part
    stem, ending = _split_ending(part)
    ending = ending if len(ending.encode()) <= 10 else ''
    digest = hashlib.sha256((whole or part).encode('utf-8', 'replace')).hexdigest()[:12]
    room = limit - len(digest) - 1 - len(ending.encode())
    return f'{stem.encode()[:room].decode(errors="ignore")}_{digest}{ending}'
