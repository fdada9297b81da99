"""A model from any name of it."""
from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmpanseg.engine.command_line import UsageError, one_line
from mmpanseg.hub.config_files import config_paths, find_configs, select_name
from mmpanseg.hub.model_index import ModelInfo, list_models

if TYPE_CHECKING:
    from mmengine.config import Config

# Endings of files of weights; what has none of them and is no folder is a name.
_CHECKPOINTS = ('.pth', '.pt', '.safetensors', '.pkl', '.bin')


@dataclass(frozen=True)
class ResolvedModel:
    """A model that a name stands for.

    Attributes:
        name: name of the config, of the checkpoint or of the folder; short name of a published
            model.
        cfg: complete config.
        weights: path or URL of weights of this library's format; None if a config is named alone.
        license: license of published weights; None if it is unknown.
        published: short name of the published weights of the config; None if there are none.
        content: content of the file of ``weights``, if it was read for its config.
    """
    name: str
    cfg: Config
    weights: str | None
    license: str | None
    published: str | None = None
    content: dict[str, Any] | None = field(default=None, repr=False, compare=False)


def resolve_model(model: str | Path | Config, weights: str | Path | None = None,
                  offline: bool = False) -> ResolvedModel:
    """Find config and weights of a model.

    Args:
        model: path of a config (.py); name of a config of the library, or its unique start; path
            of a checkpoint (.pth, .safetensors), with the config in it; folder of transformers;
            short name of a published model, whose weights are downloaded once; or a config.
        weights: path or URL of weights, in place of those of the name. Files of other code bases,
            and folders of transformers, are converted into the cache.
        offline: use no network; downloads come from the cache.

    Raises:
        UsageError: there is no such model, it has no config, or its weights cannot be had. The
            text is one line.
    """
    if not isinstance(model, (str, Path)):
        name = Path(model.filename).stem if model.filename else 'model'
        return _with_weights(ResolvedModel(name, model, None, None), weights, offline)
    text, path = str(model), Path(model).expanduser()
    if not text.strip():
        raise UsageError('the model has no name: `mmpanseg models` lists names')
    if (path / 'config.json').is_file() or path.is_dir() and not _is_name(text):
        return _folder_model(path, weights, offline)
    if path.suffix.lower() in _CHECKPOINTS:
        return _checkpoint_model(path, weights, offline)
    if path.is_file() and path.suffix == '.py':
        return _with_weights(_config_model(path, _known(path)), weights, offline)
    if path.is_file():
        raise UsageError(f'{path} is no config (.py) and no checkpoint '
                         f'({", ".join(_CHECKPOINTS[:3])})')
    if len(path.parts) > 1:
        raise UsageError(f'{path} does not exist')
    return _named_model(text, weights, offline)


def _is_name(text: str) -> bool:
    """Check for an exact name, which a folder may have by chance."""
    return any(text in (info.name, info.short_name) for info in list_models())


def _named_model(text: str, weights: str | Path | None, offline: bool) -> ResolvedModel:
    """Resolve the name of a config or a short name."""
    infos = list_models()
    by_name = {info.name: info for info in infos}
    by_short = {info.short_name: info for info in infos if info.release}
    name = select_name(text.removesuffix('.py'), [*by_short, *by_name])
    if name in by_name:
        info = by_name[name]
        return _with_weights(_config_model(info.config, info), weights, offline)
    info = by_short[name]
    found = _config_model(info.config, info)
    if weights is not None:
        return _with_weights(found, weights, offline)
    from mmpanseg.hub.published import fetch_published

    file = fetch_published(info, found.cfg, offline)
    release = info.release
    return ResolvedModel(name, found.cfg, str(file), release.license if release else None, name)


def _known(path: Path) -> ModelInfo | None:
    """Look up a path among the configs of the library."""
    if config_paths(find_configs()).get(path.stem) != path.resolve():
        return None
    return next(info for info in list_models() if info.name == path.stem)


def _config_model(path: Path, info: ModelInfo | None) -> ResolvedModel:
    from mmpanseg.engine.launch import check_model_config, load_config

    cfg = load_config(str(path))
    check_model_config(cfg, str(path))
    return ResolvedModel(path.stem, cfg, None, None, info.short_name or None if info else None)


def _folder_model(folder: Path, weights: str | Path | None, offline: bool) -> ResolvedModel:
    from mmpanseg.hub.transformers_folder import folder_config

    found = ResolvedModel(folder.resolve().name, folder_config(folder), None, None)
    return _with_weights(found, folder if weights is None else weights, offline)


def _checkpoint_model(path: Path, weights: str | Path | None, offline: bool) -> ResolvedModel:
    """Resolve a checkpoint with the config that training stored in it."""
    from mmengine.config import Config

    from mmpanseg.checkpoints.engine_loading import config_of
    from mmpanseg.checkpoints.sources import CheckpointError, foreign_file
    from mmpanseg.checkpoints.weight_files import read_checkpoint
    from mmpanseg.engine.launch import check_model_config

    if not path.is_file():
        raise UsageError(f'checkpoint {path} does not exist')
    hint = f'name a config or a short name as model, and the file as weights (--weights {path})'
    if foreign_file(str(path)):
        raise UsageError(f'{path} is a file of another code base, without a config: {hint}')
    try:
        content = read_checkpoint(path)
        cfg = Config(config_of(content, str(path)))
    except CheckpointError as error:
        text = one_line(error)
        raise UsageError(text.replace('name a config', hint, 1)) from error
    check_model_config(cfg, f'the config in {path}')
    found = ResolvedModel(path.stem, cfg, None, None)
    return _with_weights(found, path if weights is None else weights, offline,
                         content if weights is None else None)


def _with_weights(found: ResolvedModel, weights: str | Path | None, offline: bool,
                  content: dict[str, Any] | None = None) -> ResolvedModel:
    """Add weights; those of other code bases are converted.

    Args:
        found: with the config.
        weights: path or URL.
        offline: use no network.
        content: content of the file, if it is read already.
    """
    if weights is None:
        return found
    if '://' in str(weights):
        from mmpanseg.hub.published import fetch_url

        path = fetch_url(str(weights), offline)
    else:
        path = Path(weights).expanduser()
    file = _converted(path, found.cfg, content)
    return ResolvedModel(found.name, found.cfg, str(file), found.license, found.published,
                         content if file == path else None)


def _converted(path: Path, cfg: Config, content: dict[str, Any] | None) -> Path:
    """Convert a file of another code base into the cache; returns other files as they are."""
    from mmpanseg.checkpoints.sources import CheckpointError
    from mmpanseg.checkpoints.weight_files import describe_broken_file
    from mmpanseg.hub.conversion import convert_weights, converted_path, is_foreign
    from mmpanseg.hub.published import make_folder
    from mmpanseg.utils.atomic_files import FileWriteError

    if not path.exists():
        raise UsageError(f'checkpoint {path} does not exist')
    if path.is_file() and (kind := describe_broken_file(path)):
        raise UsageError(f'{path} is not a checkpoint, or not all of one: {kind}')
    try:
        if not is_foreign(path, content):
            return path
        target = converted_path(path, cfg)
        if not target.is_file():
            make_folder(target.parent)
            convert_weights(path, cfg, target)
    except CheckpointError as error:
        text = one_line(error)
        raise UsageError(text if text.startswith(str(path)) else f'{path}: {text}') from error
    except FileWriteError as error:
        raise UsageError(f'{error}; set MMPANSEG_CACHE to another folder') from error
    return target
