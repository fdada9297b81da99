"""Published weights: downloaded once, checked, converted, kept in the cache.

The cache folder has ``weights/NAME.safetensors`` and ``weights/NAME.json``, where the file is from,
its hashes, its license; ``downloads/NAME/`` for files on their way.
"""
from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mmpanseg.engine.command_line import UsageError
from mmpanseg.hub.download import FileFacts, check_file, download
from mmpanseg.hub.model_index import DRIVE, ModelInfo, Release, weights_path
from mmpanseg.utils import strict_json
from mmpanseg.utils.atomic_files import FileWriteError, write_file
from mmpanseg.utils.cache_folder import cache_folder
from mmpanseg.utils.file_lock import exclusive
from mmpanseg.utils.messages import tell

if TYPE_CHECKING:
    from mmengine.config import Config

KEEP_VARIABLE = 'MMPANSEG_KEEP_DOWNLOADS'


def download_path(release: Release) -> Path:
    """Return the path of the file as published; a file that is there is not downloaded."""
    name = PurePosixPath(urlsplit(release.url).path).name
    if DRIVE in release.url:
        name = f'{release.short_name}.pth'
    return cache_folder() / 'downloads' / release.short_name / name


def fetch_published(info: ModelInfo, cfg: Config, offline: bool = False) -> Path:
    """Return the converted weights of a published model, from the cache if they are there.

    Args:
        info: model with a release.
        cfg: its config.
        offline: use no network.

    Raises:
        UsageError: they cannot be had; in one line.
    """
    release = info.release
    assert release is not None
    target, original = weights_path(release.short_name), download_path(release)
    if os.path.isfile(target):
        _show_license(info, release)
        return target
    if offline and not os.path.isfile(original):
        raise UsageError(f'{release.short_name} is not in the cache ({target}): omit --offline, or '
                         f'put the file of {release.url} at {original}')
    make_folder(target.parent)
    make_folder(original.parent)
    with exclusive(target.with_suffix('.lock'), lambda: tell(
            f'{release.short_name}: waiting for another process that downloads it')):
        if not target.is_file():
            _show_license(info, release)
            _convert(release, cfg, original, target)
    return target


def _convert(release: Release, cfg: Config, original: Path, target: Path) -> None:
    """Download the file unless it is there, and convert it."""
    from mmpanseg.checkpoints.sources import CheckpointError
    from mmpanseg.hub.conversion import convert_weights

    given = original.is_file()
    record = read_record(release)
    # what was downloaded before and what is published must not differ
    facts = FileFacts(release.md5, release.sha256 or record.get('sha256', ''), release.size)
    found = (check_file(original, facts) if given
             else download(release.url, original, facts))
    tell(f'{release.short_name}: converting')
    try:
        convert_weights(original, cfg, target)
    except CheckpointError as error:
        text = str(error).removeprefix(f'{original}: ')
        if not given:
            original.unlink()
        raise UsageError(f'{release.url if not given else original}: {text}; '
                         + ('remove it' if given else 'nothing is kept')) from error
    except FileWriteError as error:
        raise UsageError(f'{error}; set MMPANSEG_CACHE to another folder') from error
    _write_record(release, dict(record, url=release.url, license=release.license,
                                md5=found.md5, sha256=found.sha256, size=found.size))
    if not given and os.environ.get(KEEP_VARIABLE, '') in ('', '0'):
        original.unlink()
        with contextlib.suppress(OSError):
            original.parent.rmdir()


def make_folder(folder: Path) -> None:
    """Create a folder of the cache.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        reason = '' if os.access(folder, os.W_OK | os.X_OK) else 'permission denied'
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
    if reason:
        raise UsageError(f'cannot write to the cache folder {folder} ({reason}): set '
                         'MMPANSEG_CACHE to another folder')


def _show_license(info: ModelInfo, release: Release) -> None:
    """Write the license of the weights, at first use."""
    record = read_record(release)
    if record.get('license_shown') == release.license:
        return
    limit = ', no commercial use' if release.is_noncommercial else ''
    tell(f'{release.short_name}: weights of the authors of {info.system}, license '
         f'{release.license}{limit} ({release.url})')
    with contextlib.suppress(OSError):  # a shared cache may be read-only
        _write_record(release, dict(record, license_shown=release.license))


def read_record(release: Release) -> dict[str, Any]:
    """Return what was written down at the download: ``md5``, ``sha256``, ``size``, ..."""
    target = weights_path(release.short_name)
    try:
        record = json.loads(target.with_suffix('.json').read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _write_record(release: Release, record: dict[str, Any]) -> None:
    path = weights_path(release.short_name).with_suffix('.json')
    write_file(path, f'{strict_json.dumps(record, indent=2)}\n'.encode())


def fetch_url(url: str, offline: bool = False) -> Path:
    """Return a file of weights from an address, from the cache if it is there.

    Args:
        url: address, http or https.
        offline: use no network.

    Raises:
        UsageError: it cannot be had; in one line.
    """
    parts = urlsplit(url)
    if parts.scheme not in ('http', 'https'):
        raise UsageError(f'{url}: weights come from a file, or from an address with http or https')
    digits = hashlib.sha256(url.encode()).hexdigest()[:16]
    folder = cache_folder() / 'files' / digits
    path = folder / (PurePosixPath(parts.path).name or 'weights.pth')
    if path.is_file():
        return path
    if offline:
        raise UsageError(f'{url} is not in the cache ({path}): omit --offline, or put the file '
                         'there')
    make_folder(folder)
    with exclusive(folder / '.lock', lambda: tell(
            f'{url}: waiting for another process that downloads it')):
        if not path.is_file():
            download(url, path)
    return path
