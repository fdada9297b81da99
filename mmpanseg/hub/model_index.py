"""The table of all models: configs, published results, released weights.

It is read from the metafiles beside the configs. Neither torch nor mmengine is imported.
"""
import fnmatch
import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mmpanseg.engine.command_line import UsageError
from mmpanseg.hub.config_files import config_paths, find_configs
from mmpanseg.utils.cache_folder import cache_folder

_DATASETS = {'coco': 'COCO', 'cityscapes': 'Cityscapes', 'ade20k': 'ADE20K',
             'mapillary': 'Mapillary Vistas', 'custom': 'own data', 'demo_scenes': 'demo scenes'}
_LAST_PART = re.compile(rf'[_-]({"|".join(_DATASETS)})-(panoptic|instance|semantic)(-sample)?')
_BACKBONES = (
    (r'r(\d+)', 'R{}'), (r'swin-(\w)-.*', 'Swin-{}'), (r'convnext-(\w)-.*', 'ConvNeXt-{}'),
    (r'max-(s)', 'MaX-{}'), (r'pvtv2-(b\d)', 'PVTv2-{}'))
# Metrics whose value represents a result, best first.
_MAIN_METRICS = ('PQ', 'mask AP', 'mIoU')
DRIVE = 'drive.google.com'


@dataclass(frozen=True)
class Release:
    """A file of published weights.

    Attributes:
        short_name: name under which it can be had.
        url: its address; for files on Google Drive that of their page.
        license: SPDX name of the license of the weights.
        md5: first hexadecimal digits of its MD5; '' if none are published.
        sha256: its SHA-256; '' if it is not published.
        size: bytes; None if unknown.
    """
    short_name: str
    url: str
    license: str
    md5: str = ''
    sha256: str = ''
    size: int | None = None

    @property
    def is_noncommercial(self) -> bool:
        """Whether the license excludes commercial use."""
        return '-NC-' in self.license


@dataclass(frozen=True)
class ModelInfo:
    """A model of the library.

    Attributes:
        name: name of its config.
        config: path of the config.
        system: e.g. Mask2Former.
        task: panoptic, instance or semantic.
        dataset: e.g. COCO.
        backbone: e.g. R50.
        parameters: number of parameters; None if unknown.
        scores: published result by metric; {} if there is none.
        release: published weights; None if there are none.
    """
    name: str
    config: Path
    system: str
    task: str
    dataset: str
    backbone: str
    parameters: int | None
    scores: dict[str, float]
    release: Release | None

    @property
    def short_name(self) -> str:
        """Short name of the published weights; '' if there are none."""
        return self.release.short_name if self.release else ''

    @property
    def score(self) -> tuple[str, float] | None:
        """Metric and value that represent the published result; None if there is none."""
        for metric in (*_MAIN_METRICS, *self.scores):
            if metric in self.scores:
                return metric, self.scores[metric]
        return None

    @property
    def cached(self) -> Path | None:
        """Path of the converted weights in the cache; None if they are not there."""
        path = weights_path(self.short_name)
        return path if self.release and os.path.isfile(path) else None

    @property
    def by_name(self) -> str:
        """How the weights can be had by the short name.

        ``'cached'``, ``'yes'``, ``'drive'`` (Google Drive, which may answer with a page instead of
        the file), or ``'no'``.
        """
        if self.release is None:
            return 'no'
        if self.cached:
            return 'cached'
        return 'drive' if DRIVE in self.release.url else 'yes'


def weights_path(short_name: str) -> Path:
    """Return the path of the converted weights of a published model, which may not exist."""
    return cache_folder() / 'weights' / f'{short_name}.safetensors'


def list_models(pattern: str | None = None) -> list[ModelInfo]:
    """List the models of the library: those with a published result or weights first.

    Args:
        pattern: words with blanks between them, each of which is a part of a name, a system, a
            task, a data set or a backbone; or a pattern of names with ``*``; None for all.
    """
    models = _read_models(find_configs())
    if not pattern:
        return list(models)
    if '*' in pattern:
        return [model for model in models if any(
            fnmatch.fnmatchcase(name.lower(), pattern.lower().strip())
            for name in (model.name, model.short_name))]
    exact = [model for model in models if pattern in (model.name, model.short_name)]
    words = pattern.lower().split()
    return exact or [model for model in models if all(word in _searched(model) for word in words)]


def _searched(model: ModelInfo) -> str:
    return '\n'.join((model.name, model.short_name, model.system, model.task, model.dataset,
                      model.backbone)).lower()


@cache
def _read_models(folder: Path) -> tuple[ModelInfo, ...]:
    entries: dict[str, tuple[dict, str]] = {}
    systems: dict[str, str] = {}
    for path in sorted(folder.glob('*/metafile.yml'), key=_order):
        content = _read_yaml(path)
        systems[path.parent.name] = content['Collections'][0]['Name']
        for entry in content['Models']:
            entries[entry['Name']] = entry, entry['In Collection']
    counts = _read_yaml(folder / 'parameters.yml')
    paths = config_paths(folder)
    models = [_model(paths[name], system, entry) for name, (entry, system) in entries.items()
              if name in paths]
    for name, path in paths.items():
        if name not in entries:
            system = systems.get(path.relative_to(folder).parts[0], '')
            models.append(_model(path, system, dict(Metadata=dict(Parameters=counts.get(name)))))
    return tuple(models)


def _order(path: Path) -> tuple[int, str]:
    """Systems in the order of their publication."""
    known = ('mask2former', 'mp_former', 'panoptic_segformer', 'kmax_deeplab')
    name = path.parent.name
    return (known.index(name) if name in known else len(known)), name


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    loader = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)  # ten times as fast
    try:
        return yaml.load(path.read_bytes(), loader)
    except (OSError, yaml.YAMLError) as error:
        raise UsageError(f'{path} cannot be read: {" ".join(str(error).split())}') from error


def _model(path: Path, system: str, entry: dict[str, Any]) -> ModelInfo:
    match = _LAST_PART.search(path.stem)
    result = (entry.get('Results') or [{}])[0]
    return ModelInfo(
        name=path.stem, config=path, system=system,
        task=match[2] if match else '',
        dataset=_DATASETS[match[1]] if match else '', backbone=_backbone(path.stem),
        parameters=(entry.get('Metadata') or {}).get('Parameters'),
        scores=dict(result.get('Metrics', {})), release=_release(entry.get('Converted From')))


def _release(entry: dict[str, Any] | None) -> Release | None:
    if not entry:
        return None
    # YAML reads digits as a number; the metafiles write them as texts
    return Release(entry['Short Name'], entry['Weights'], entry['License'],
                   entry.get('MD5', ''), entry.get('SHA256', ''), entry.get('Size'))


def _backbone(name: str) -> str:
    for part in name.split('_'):
        for pattern, title in _BACKBONES:
            if match := re.fullmatch(pattern, part):
                data = re.search(r'-in(\d+)k', part)  # ImageNet-21K, also called -22K
                return title.format(match[1].upper()) + (f' IN-{data[1]}K' if data else '')
    return ''
