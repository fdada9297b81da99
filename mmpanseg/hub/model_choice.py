"""The model of a new config: system, backbone, the config that it extends, weights."""
from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mmpanseg.engine.command_line import UsageError
from mmpanseg.hub.config_files import find_configs
from mmpanseg.hub.model_index import ModelInfo, list_models

if TYPE_CHECKING:
    from mmengine.config import Config

SYSTEMS = ('mask2former', 'mp_former', 'panoptic_segformer', 'kmax_deeplab')
DEFAULT_SYSTEM, DEFAULT_BACKBONE = 'mask2former', 'r50'
# Trained from scratch, in minutes on a CPU.
SMALL = 'r18'
# Configs of these data first: their models know most about other data.
_DATASETS = ('COCO', 'demo scenes', 'ADE20K', 'Cityscapes', 'Mapillary Vistas')
_HEADS = {'mmpanseg.Mask2FormerHead': 'mask2former', 'mmpanseg.MPFormerHead': 'mp_former',
          'mmpanseg.PanopticSegFormerHead': 'panoptic_segformer',
          'mmpanseg.KMaXDeepLabHead': 'kmax_deeplab'}
# Entries that distinguish the backbones of the library.
_DISTINCTIVE = ('type', 'depth', 'base_channels', 'embed_dims', 'depths', 'num_layers', 'arch',
                'pretrain_img_size', 'window_size')


class ModelChoice(NamedTuple):
    """A model for new data.

    Args:
        system: one of :data:`SYSTEMS`.
        backbone: e.g. ``'swin_t'``.
        base: model of the library whose config is extended.
        weights: path or URL of weights to start from; None for those of the backbone.
        source: what the user calls these weights.
        license: license of published weights; None if it is unknown.
        queries: queries of the weights, where they are not those of the base.
    """

    system: str
    backbone: str
    base: ModelInfo
    weights: str | None = None
    source: str = ''
    license: str | None = None
    queries: int | None = None

    @property
    def is_small(self) -> bool:
        """Whether the model trains from scratch in minutes on a CPU."""
        return self.backbone == SMALL

    @property
    def has_fixed_size(self) -> bool:
        """Whether all images are padded to one size, as in kMaX-DeepLab's recipe."""
        return self.system == 'kmax_deeplab' and not self.is_small


def list_choices() -> dict[str, dict[str, list[ModelInfo]]]:
    """List the models that can be extended: system -> backbone -> models, best base first."""
    choices: dict[str, dict[str, list[ModelInfo]]] = {system: {} for system in SYSTEMS}
    folder = find_configs()
    for info in list_models():
        parts = info.config.relative_to(folder).parts
        plain = len(parts) == 2 and info.name.startswith(f'{parts[0]}_')
        if plain and info.dataset in _DATASETS and info.name.endswith(f'-{info.task}'):
            choices[parts[0]].setdefault(backbone_name(info), []).append(info)
    for backbones in choices.values():
        for infos in backbones.values():
            infos.sort(key=lambda info: (_DATASETS.index(info.dataset), info.name.count('_'),
                                         not info.scores, info.name))
    return choices


def backbone_name(info: ModelInfo) -> str:
    """Return the name of a backbone on the command line, e.g. ``swin_b_in21k``."""
    return re.sub('[ -]+', '_', info.backbone.lower()).replace('_in_', '_in')


def tasks_of(system: str) -> list[str]:
    """Return the tasks that a system has configs for."""
    found = {info.task for infos in list_choices()[system].values() for info in infos}
    return [task for task in ('panoptic', 'instance', 'semantic') if task in found]


def choose_model(task: str, system: str | None = None, backbone: str | None = None,
                 base: str | Path | None = None, offline: bool = False) -> ModelChoice:
    """Choose system, backbone and weights.

    Args:
        task: panoptic, instance or semantic.
        system: one of :data:`SYSTEMS`; None: that of ``base``, else Mask2Former.
        backbone: name or its unique start; None: that of ``base``, else ResNet-50.
        base: short name of a published model, checkpoint, folder of transformers, or URL.
        offline: use no network.

    Raises:
        UsageError: there is no such model, or names and weights contradict each other.
    """
    if system is not None:
        named = [name for name in SYSTEMS if name.startswith(_plain(system))]
        if len(named) != 1:
            raise UsageError(f'--system {system}: there are {", ".join(SYSTEMS)}')
        system = named[0]
    if base is None or '://' in str(base):
        choice = _named(task, system or DEFAULT_SYSTEM, backbone or DEFAULT_BACKBONE)
        return choice if base is None else choice._replace(weights=str(base), source=str(base))
    from mmpanseg.hub.resolve import resolve_model

    found = resolve_model(base, offline=offline)
    if found.weights is None:
        raise UsageError(f'--from {base} is a config without published weights: name a checkpoint, '
                         'or a model that `mmpanseg models` shows as available by name')
    weights = found.weights if '://' in found.weights else str(Path(found.weights).resolve())
    published = next((info for info in list_models() if info.short_name == found.name), None)
    own_system, own_backbones = _recognize(found.cfg, str(base))
    if published is not None:
        own_backbones = [backbone_name(published)]
    fitting = [own for own in own_backbones if own.startswith(_plain(backbone or ''))]
    for option, given, fits, own in (
            ('system', system, system == own_system, own_system),
            ('backbone', backbone, bool(fitting), own_backbones[0])):
        if given is not None and not fits:
            raise UsageError(f'--from {base} has {option} {own}, not {given}: omit --{option}, or '
                             'start from other weights')
    choice = _named(task, own_system, fitting[0])
    if published is not None:
        choice = choice._replace(base=published)
    return choice._replace(weights=weights, source=str(base), license=found.license,
                           queries=found.cfg.model.panoptic_head.get('num_queries'))


def _plain(name: str) -> str:
    return name.lower().replace('-', '_')


def _named(task: str, system: str, backbone: str) -> ModelChoice:
    backbones = list_choices()[system]
    if task not in tasks_of(system):
        others = [name for name in SYSTEMS if task in tasks_of(name)]
        raise UsageError(f'{system} has no configs for the task {task}, only for '
                         f'{", ".join(tasks_of(system))}; {task}: --system '
                         f'{" or ".join(others)}')
    wanted = _plain(backbone)
    names = [wanted] if wanted in backbones else [
        name for name in backbones if wanted and name.startswith(wanted)]
    if len(names) != 1:
        which = f'is the start of {", ".join(names)}' if names else (
            f'has no config; {system} has {", ".join(sorted(backbones))}')
        raise UsageError(f'--backbone {backbone} {which}')
    infos = backbones[names[0]]
    same_task = [info for info in infos if info.task == task]
    # a panoptic model has all that the other tasks need
    panoptic = [info for info in infos if info.task == 'panoptic']
    return ModelChoice(system, names[0], (same_task or panoptic or infos)[0])


def _recognize(cfg: Config, name: str) -> tuple[str, list[str]]:
    """System and possible backbones of a config that may be of the user."""
    from mmengine.config import Config as Reader

    head = cfg.model.panoptic_head.type
    system = _HEADS.get(head if '.' in head else f'mmpanseg.{head}', '')
    if not system:
        raise UsageError(f'--from {name}: no system of the library has the head {head}')
    wanted = _signature(cfg)
    backbones = [backbone for backbone, infos in list_choices()[system].items()
                 if _signature(Reader.fromfile(infos[0].config)) == wanted]
    if backbones:
        return system, backbones
    raise UsageError(f'--from {name}: no config of {system} has its backbone '
                     f'{cfg.model.backbone.type} and {wanted[-1]} channels; write the config by '
                     'hand, with load_from')


def _signature(cfg: Config) -> tuple:
    backbone, head = cfg.model.backbone, cfg.model.panoptic_head
    return (*(repr(backbone.get(key)) for key in _DISTINCTIVE), head.get('channels', 256))
