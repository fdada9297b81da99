"""Downloads that are complete and checked, or are not there.

Proxies are those of the environment (``https_proxy``, ``no_proxy``). A broken connection is
resumed. What was received until then is in a hidden file ``.NAME.part``, with which the next
download continues if the server says that its file is unchanged.
"""
import contextlib
import hashlib
import http.client
import json
import os
import re
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mmpanseg.engine.command_line import UsageError
from mmpanseg.utils import strict_json
from mmpanseg.utils.atomic_files import free_space, readable_size, write_file
from mmpanseg.utils.messages import message_stream, tell
from mmpanseg.version import __version__

MIRROR_VARIABLE = 'MMPANSEG_MIRROR'
# Seconds without any data after which a connection is broken, and between two tries.
STALLED, PAUSE = 30.0, 1.0
_TRIES, _CHUNK = 4, 1 << 18
_DRIVE_FILE = re.compile(r'https://drive\.google\.com/file/d/([\w-]+)/view')


@dataclass(frozen=True)
class FileFacts:
    """What identifies a file.

    Attributes:
        md5: its MD5, or the first hexadecimal digits of it; '' if unknown.
        sha256: its SHA-256; '' if unknown.
        size: bytes; None if unknown.
    """
    md5: str = ''
    sha256: str = ''
    size: int | None = None


class _Broken(Exception):
    """A connection that broke; a further try may succeed."""


def actual_address(url: str) -> str:
    """Return the address to read: that of ``$MMPANSEG_MIRROR``, or of the file behind a page.

    Args:
        url: address in a metafile.
    """
    if mirror := os.environ.get(MIRROR_VARIABLE):
        parts = urlsplit(url)
        query = f'?{parts.query}' if parts.query else ''
        return f'{mirror.rstrip("/")}/{parts.netloc}{parts.path}{query}'
    if match := _DRIVE_FILE.fullmatch(url):
        return ('https://drive.usercontent.google.com/download'
                f'?id={match[1]}&export=download&confirm=t')
    return url


def download(url: str, path: Path, facts: FileFacts = FileFacts()) -> FileFacts:
    """Download a file, with a progress bar on a terminal.

    Args:
        url: address of the file, or of its page on Google Drive.
        path: file to write; its folder exists. No other process downloads to it.
        facts: what is known of the file.

    Returns:
        Size and hashes of the file.

    Raises:
        UsageError: it cannot be had, or is not the file that it should be. The text is one line
            with the address and what to do.
    """
    part = _Part(path, url)
    advice = f'put the file at {path}, or try again later'
    try:
        _receive(url, part, facts.size, advice)
        found = _hashes(part.path)
        if problem := _difference(found, facts) or _page(part.path):
            part.remove()
            raise UsageError(f'{url}: {problem}; nothing is kept, {advice}')
        os.replace(part.path, path)
        part.remove()
    except OSError as error:
        part.remove()
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f'cannot write {path}: {reason}; set MMPANSEG_CACHE to another '
                         'folder') from error
    finally:
        if not part.validator():  # nothing can continue with it
            part.remove()
    return found


def check_file(path: Path, facts: FileFacts) -> FileFacts:
    """Check a file that is there already, see :func:`download`.

    Raises:
        UsageError: it is another file.
    """
    found = _hashes(path)
    if problem := _difference(found, facts):
        raise UsageError(f'{path}: {problem}; remove it')
    return found


class _Part:
    """The received part of a file, and what the server said of the file."""

    def __init__(self, path: Path, url: str) -> None:
        self.path = path.with_name(f'.{path.name}.part')
        self._notes = path.with_name(f'.{path.name}.part.json')
        self._url = url

    def validator(self) -> str:
        """Text by which the server recognizes an unchanged file; '' if there is no such part."""
        try:
            notes = json.loads(self._notes.read_text())
            known = notes['url'] == self._url and self.path.stat().st_size > 0
            return str(notes['validator']) if known else ''
        except (OSError, ValueError, LookupError, TypeError):
            return ''

    def start(self, validator: str) -> None:
        """Begin anew with a file that has this validator."""
        self.remove()
        if validator:
            write_file(self._notes, strict_json.dumps(
                dict(url=self._url, validator=validator)).encode())

    def remove(self) -> None:
        """Remove it."""
        for path in (self.path, self._notes):
            with contextlib.suppress(OSError):
                path.unlink()


def _receive(url: str, part: _Part, size: int | None, advice: str) -> None:
    """Fill the part, in several tries.

    Raises:
        UsageError: the server refuses, or all tries failed.
        OSError: the part cannot be written.
    """
    reason = ''
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(PAUSE * 2**(attempt - 1))
        try:
            return _receive_once(url, part, size, advice)
        except _Broken as error:
            reason = str(error)
            if not part.validator():
                part.remove()
    raise UsageError(f'{url}: {reason}; {advice}')


def _receive_once(url: str, part: _Part, size: int | None, advice: str) -> None:
    known = part.validator()
    have = part.path.stat().st_size if known else 0
    headers = {'User-Agent': f'mmpanseg/{__version__}', 'Accept-Encoding': 'identity'}
    if have:
        headers.update({'Range': f'bytes={have}-', 'If-Range': known})
    try:
        request = urllib.request.Request(actual_address(url), headers=headers)
        # not urlopen: it keeps the proxies of its first call
        response = urllib.request.build_opener().open(request, timeout=STALLED)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:
            part.remove()
        if error.code in (408, 416, 429) or error.code >= 500:
            raise _Broken(f'the server answers {error.code} ({error.reason})') from error
        raise UsageError(f'{url}: the server answers {error.code} ({error.reason}); '
                         f'{advice}') from error
    except ValueError as error:
        raise UsageError(f'{url}: not an address ({error}): check {MIRROR_VARIABLE}') from error
    except (OSError, http.client.HTTPException) as error:
        text = f'no connection ({_reason(error)})'
        if isinstance(getattr(error, 'reason', error), (socket.gaierror, ConnectionRefusedError)):
            raise UsageError(f'{url}: {text}; {advice}') from error
        raise _Broken(text) from error
    with response:
        if response.headers.get_content_type() == 'text/html':
            raise UsageError(f'{url}: {_PAGE}; {advice}')
        if response.status != 206:
            have = 0
        length = response.headers.get('Content-Length')
        total = have + int(length) if length and length.isdecimal() else None
        if size is not None and total is not None and total != size:
            part.remove()
            raise UsageError(f'{url}: the server has {total} bytes, the published file has {size}; '
                             f'nothing is kept, {advice}')
        if not have:
            etag = response.headers.get('ETag') or ''
            part.start('' if etag.startswith('W/') else
                       etag or response.headers.get('Last-Modified') or '')
        _check_space(part.path, total, have)
        received = _copy(response, part.path, have, total, url)
    if total is not None and received != total:
        raise _Broken(f'the connection ended after {readable_size(received)} of '
                      f'{readable_size(total)}')


def _copy(response: Any, path: Path, have: int, total: int | None, url: str) -> int:
    """Append the data of a response; returns the size of the part."""
    with open(path, 'ab') as file, _bar(url, have, total) as advance:
        while True:
            try:
                data = response.read1(_CHUNK)
            except (OSError, http.client.HTTPException) as error:
                raise _Broken(f'the connection broke after {readable_size(have)} '
                              f'({_reason(error)})') from error
            if not data:
                break
            file.write(data)
            have += len(data)
            advance(len(data))
        file.flush()
        os.fsync(file.fileno())
    return have


@contextlib.contextmanager
def _bar(url: str, have: int, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show progress with rate and remaining time on a terminal, one line elsewhere."""
    name = urlsplit(url).netloc
    stream = message_stream()
    if not stream.isatty():
        verb = 'continuing' if have else 'downloading'
        tell(f'{verb} from {name}' + (f' ({readable_size(total)})' if total else ''))
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (TextColumn('{task.description}'), BarColumn(), DownloadColumn(),
               TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=stream), transient=True) as progress:
        task = progress.add_task(name, total=total, completed=have)
        yield lambda count: progress.advance(task, count)


def _check_space(path: Path, total: int | None, have: int) -> None:
    free = free_space(path.parent)
    if total is not None and free is not None and total - have > free:
        raise UsageError(f'{path.parent}: the file needs {readable_size(total - have)}, '
                         f'{readable_size(free)} are free: set MMPANSEG_CACHE to another folder')


_PAGE = 'the server sends a page instead of the file: open the address in a browser'


def _page(path: Path) -> str:
    """Text for a page that the server declares as a file; '' for others."""
    with open(path, 'rb') as file:
        start = file.read(64)
    if not start:
        return 'the file is empty'
    return _PAGE if start.lstrip().lower().startswith((b'<!doctype', b'<html')) else ''


def _hashes(path: Path) -> FileFacts:
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    size = 0
    with open(path, 'rb') as file:
        while data := file.read(1 << 20):
            md5.update(data)
            sha256.update(data)
            size += len(data)
    return FileFacts(md5.hexdigest(), sha256.hexdigest(), size)


def _difference(found: FileFacts, facts: FileFacts) -> str:
    """Describe how a file differs from the published one; '' if it does not."""
    if facts.size is not None and found.size != facts.size:
        return f'it has {found.size} bytes, the published file has {facts.size}'
    for name, ours, theirs in (('SHA-256', facts.sha256, found.sha256),
                               ('MD5', facts.md5, found.md5)):
        if not theirs.startswith(ours):
            return (f'its {name} begins with {theirs[:max(len(ours), 8)][:16]}, that of the '
                    f'published file with {ours[:16]}')
    return ''


def _reason(error: Exception) -> str:
    cause = getattr(error, 'reason', error)
    if isinstance(cause, TimeoutError):
        return f'no data for {STALLED:g} s'
    return ' '.join(str(getattr(cause, 'strerror', None) or cause).split()) or type(cause).__name__
