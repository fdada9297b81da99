"""Loading through mmengine: checkpoints, downloads, and configs of inferencers.

:mod:`mmpanseg.compat` puts these functions in the place of ``torch.load`` and ``load_url`` in
mmengine's loader, and before its inferencers build a model. See
:mod:`mmpanseg.checkpoints.loading_policy`.
"""
import logging
import os
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlparse

import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log

from mmpanseg.checkpoints.config_text import parse_config_text
from mmpanseg.checkpoints.loading_policy import WAY_OUT, is_trusted
from mmpanseg.checkpoints.sources import CheckpointError
from mmpanseg.checkpoints.torch_files import MapLocation
from mmpanseg.checkpoints.weight_files import read_open_file

_UNNAMED = '<bytes>'


def load(file: Any, map_location: MapLocation = None, **options: Any) -> Any:
    """Read a checkpoint in place of ``torch.load``.

    Args:
        file: path, or open file.
        map_location: see ``torch.load``.
        options: others of ``torch.load``, which have no effect here.

    Raises:
        CheckpointError: see :func:`mmpanseg.checkpoints.weight_files.read_open_file`.
    """
    if isinstance(file, (str, os.PathLike)):
        with open(file, 'rb') as opened:
            content = read_open_file(opened, str(file), map_location)
    else:
        content = read_open_file(file, str(getattr(file, 'name', _UNNAMED)), map_location)
    _drop_executable_config(content, file)
    return content


def load_url(url: str, model_dir: str | None = None, map_location: MapLocation = None,
             progress: bool = True, check_hash: bool = False, file_name: str | None = None) -> Any:
    """Download a checkpoint to torch's cache and read it, in place of torch's function.

    Args:
        url: URL of the file.
        model_dir: folder to store it in; that of ``torch.hub`` by default.
        map_location: see ``torch.load``.
        progress: show a progress bar.
        check_hash: compare its SHA-256 with the digits in its name.
        file_name: name of the stored file; that of the URL by default.

    Raises:
        CheckpointError: see :func:`load`.
    """
    folder = model_dir or os.path.join(torch.hub.get_dir(), 'checkpoints')
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, file_name or PurePosixPath(urlparse(url).path).name)
    if not os.path.exists(path):
        print_log(f'Downloading {url} to {path}', 'current')
        found = torch.hub.HASH_REGEX.search(os.path.basename(path)) if check_hash else None
        torch.hub.download_url_to_file(url, path, found and found.group(1), progress)
    return load(path, map_location)


def load_named(load_checkpoint: Callable, filename: str, *args: Any, **kwargs: Any) -> Any:
    """Load with mmengine's function; errors name the file also where only its bytes are known.

    Args:
        load_checkpoint: the function.
        filename: path or URL.
        args: further arguments of the function.
        kwargs: further arguments of the function.

    Raises:
        CheckpointError: see :func:`load`.
    """
    try:
        return load_checkpoint(filename, *args, **kwargs)
    except CheckpointError as error:
        text = str(error)
        if text.startswith(_UNNAMED):
            text = f'{filename}{text.removeprefix(_UNNAMED)}'
        raise CheckpointError(text) from error


def fill_config(config: Any, weights: str | None) -> None:
    """Fill an empty config of an inferencer with that of its checkpoint, see :func:`config_of`.

    Args:
        config: ConfigDict, changed in place; unchanged if it is not empty.
        weights: path or URL of the checkpoint.

    Raises:
        CheckpointError: the checkpoint has no config, or none that is literal data.
    """
    if config or weights is None:
        return
    from mmengine.runner import CheckpointLoader

    config.update(config_of(CheckpointLoader.load_checkpoint(weights, 'cpu'), weights))


def config_of(content: Any, path: str) -> ConfigDict:
    """Return the config that a checkpoint contains as text.

    Args:
        content: content of the checkpoint.
        path: path or URL of the file, for the error text.

    Raises:
        CheckpointError: see :func:`fill_config`.
    """
    places = (('message_hub', 'runtime_info', 'cfg'), ('meta', 'cfg'))
    texts = [found for keys in places if isinstance(found := _entry(content, *keys), str)]
    if not texts:
        raise CheckpointError(f'{path}: it contains no config: name a config')
    try:
        config = parse_config_text(texts[0])
    except CheckpointError as error:
        if not is_trusted():
            raise CheckpointError(f'{path}: {error}; {WAY_OUT}') from error
        print_log(f'{path}: {error}. It is executed all the same, since the file is trusted',
                  'current', logging.WARNING)
        config = Config.fromstring(texts[0], '.py')._cfg_dict
    if 'model' not in config:
        raise CheckpointError(f'{path}: the config in it has no model: name a config')
    return config


def _entry(content: Any, *keys: str) -> Any:
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content


def _drop_executable_config(content: Any, name: Any) -> None:
    """Drop a config text that mmengine executes to resume, unless it is literal data.

    Files of mmcv 1.x contain it. mmengine reads the number of GPUs from it.
    """
    text = _entry(content, 'meta', 'config')
    if text is None or is_trusted():
        return
    try:
        if not isinstance(text, str) or '{{' in text:  # replaced by mmengine before it is parsed
            raise CheckpointError('it is no literal data')
        parse_config_text(text)
    except CheckpointError as error:
        del content['meta']['config']
        print_log(f'{name}: its entry meta.config is left out: {error}', 'current',
                  logging.WARNING)
