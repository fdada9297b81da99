"""The config for a folder of transformers: one of this library, with the folder's settings.

The folder's ``config.json`` determines backbone, widths, layers, queries and classes. Its class
names determine the data set, and with it which classes are things. The format does not tell a
semantic model from a panoptic one of the same classes: the first has ``semantic`` in its name.
Normalization is that of ``preprocessor_config.json``; the size of test images is that of the
config, unless this library exported the folder.
"""
import json
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from mmpanseg.checkpoints.class_names import EXPORT_ENTRY
from mmpanseg.checkpoints.class_order import PUBLISHED
from mmpanseg.datasets.metainfo import first_dataset
from mmpanseg.engine.command_line import UsageError
from mmpanseg.engine.launch import load_config
from mmpanseg.hub.model_index import list_models

# What transformers assumes where config.json has no entry.
_DEFAULTS = dict(
    feature_size=256, hidden_dim=256, mask_feature_size=256, encoder_layers=6,
    encoder_feedforward_dim=1024, decoder_layers=10, dim_feedforward=2048, num_attention_heads=8,
    num_queries=100, no_object_weight=0.1, enforce_input_projection=False, pre_norm=False,
    common_stride=4, feature_strides=[4, 8, 16, 32], activation_function='relu')
_SWIN = dict(
    embed_dim=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24], window_size=7, mlp_ratio=4,
    qkv_bias=True, image_size=224, patch_size=4, num_channels=3, hidden_act='gelu',
    use_absolute_embeddings=False, layer_norm_eps=1e-5)
_RESNET = dict(
    layer_type='bottleneck', depths=[3, 4, 6, 3], embedding_size=64, num_channels=3,
    hidden_sizes=[256, 512, 1024, 2048], hidden_act='relu', downsample_in_first_stage=False,
    downsample_in_bottleneck=False)
# Settings that models here have with one value only.
_FIXED = ('pre_norm', 'common_stride', 'feature_strides', 'activation_function', 'patch_size',
          'num_channels', 'hidden_act', 'use_absolute_embeddings', 'layer_norm_eps', 'layer_type',
          'downsample_in_first_stage', 'downsample_in_bottleneck')
_DEPTHS = {(3, 4, 6, 3): 50, (3, 4, 23, 3): 101, (3, 8, 36, 3): 152}
# Things of data sets with models of instances; they come first.
_THINGS = dict(cityscapes=8, ade20k=100, coco=80)
# Channels of Swin's first stage, and the part of config names with it.
_SWIN_NAMES = {96: '_swin-t-', 128: '_swin-b-', 192: '_swin-l-'}


def folder_config(folder: Path) -> Config:
    """Build the config of a folder of transformers.

    Args:
        folder: with ``config.json`` of Mask2FormerForUniversalSegmentation.

    Returns:
        A config of this library, whose model has the settings of the folder.

    Raises:
        UsageError: the folder has another model, or one that this library does not express.
    """
    file = folder / 'config.json'
    if not file.is_file():
        raise UsageError(f'{folder} is a folder without config.json: name a folder of '
                         'transformers, a config or a checkpoint')
    content = _read(file)
    if content.get('model_type') != 'mask2former':
        raise UsageError(f'{file}: model_type={content.get("model_type")!r}: only mask2former can '
                         'be read')
    backbone = content.get('backbone_config') or dict(model_type='swin')
    kind = backbone.get('model_type')
    if kind not in ('swin', 'resnet') or content.get('use_timm_backbone'):
        raise UsageError(f'{file}: backbone_config.model_type={kind!r}: only swin and resnet can '
                         'be read')
    known = _SWIN if kind == 'swin' else _RESNET
    settings, backbone = {**_DEFAULTS, **content}, {**known, **backbone}
    _check_fixed(file, settings, _DEFAULTS)
    _check_fixed(file, backbone, known, 'backbone_config.')
    if kind == 'resnet' and tuple(backbone['depths']) not in _DEPTHS:
        raise UsageError(f'{file}: backbone_config.depths={backbone["depths"]}: only ResNets with '
                         '50, 101 and 152 layers can be read')
    if kind == 'swin' and backbone['mlp_ratio'] % 1:
        raise UsageError(f'{file}: backbone_config.mlp_ratio={backbone["mlp_ratio"]} is no whole '
                         'number')
    names = _class_names(file, content)
    own = content.get(EXPORT_ENTRY)
    own = own if isinstance(own, dict) and own.get('classes') == names else None
    dataset, task = _data(file, content, names, own)
    cfg = load_config(str(_similar_config(dataset, task, kind, backbone)))
    _set_model(cfg.model, settings, kind, backbone)
    if own:
        _set_classes(cfg, names, int(own['num_things_classes']))
    _set_images(cfg, folder / 'preprocessor_config.json', set_size=own is not None)
    return cfg


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f'{file} cannot be read: {" ".join(str(error).split())}') from error
    if not isinstance(content, dict):
        raise UsageError(f'{file} is no JSON object')
    return content


def _check_fixed(file: Path, settings: dict, known: dict, prefix: str = '') -> None:
    for key in _FIXED:
        if key in known and settings[key] != known[key]:
            raise UsageError(f'{file}: {prefix}{key}={settings[key]!r} cannot be expressed here, '
                             f'only {known[key]!r}')


def _class_names(file: Path, content: dict) -> list[str]:
    """Names by label."""
    try:
        labels = {int(label): str(name) for label, name in content['id2label'].items()}
        return [labels[label] for label in range(len(labels))]
    except (LookupError, ValueError, AttributeError) as error:
        raise UsageError(f'{file}: id2label has no name for each label') from error


def _data(file: Path, content: dict, names: list[str], own: dict | None) -> tuple[str, str]:
    """Data set in config names, and task."""
    found = {_plain(name) for name in names}
    for dataset, (classes, _) in PUBLISHED.items():
        known = {_plain(name) for name in classes}
        # some names are spelled differently elsewhere
        if 2 * len(found & known) <= len(found):
            continue
        if len(names) == len(classes):
            title = f'{file.parent.resolve().name} {content.get("_name_or_path", "")}'.lower()
            return dataset, _task(own) or ('semantic' if 'semantic' in title else 'panoptic')
        if len(names) == _THINGS.get(dataset) and found == set(map(_plain, classes[:len(names)])):
            return dataset, _task(own) or 'instance'
    if own:
        return 'custom' if _task(own) == 'panoptic' else 'coco', _task(own)
    raise UsageError(
        f'{file}: its {len(names)} classes ({", ".join(names[:4])}, ...) are those of no data set '
        f'known here ({", ".join(PUBLISHED)}), so that it is unknown which are things: name a '
        'config, and the folder as weights')


def _task(own: dict | None) -> str:
    """Task of an export of this library; '' for other folders."""
    if own is None:
        return ''
    return ('panoptic' if own['num_stuff_classes'] else 'instance') if own[
        'num_things_classes'] else 'semantic'


def _plain(name: str) -> str:
    return ' '.join(name.casefold().split())


def _similar_config(dataset: str, task: str, kind: str, backbone: dict) -> Path:
    """Choose a Mask2Former of the data set, with the backbone if there is one."""
    if kind == 'resnet':
        part = f'_r{_DEPTHS[tuple(backbone["depths"])]}_'
    else:
        part = _SWIN_NAMES.get(backbone['embed_dim'], '')
        if part == '_swin-t-' and backbone['depths'][2:3] == [18]:
            part = '_swin-s-'
    found = [model for model in list_models()
             if model.name.endswith(f'_{dataset}-{task}') and model.name.startswith('mask2former_')
             and model.config.parent.name == 'mask2former' and '_fapn_' not in model.name]
    same = [model for model in found if part and part in model.name]
    return (same or [model for model in found if '_r50_' in model.name])[0].config


def _set_model(model: ConfigDict, settings: dict, kind: str, backbone: dict) -> None:
    """Set widths, layers and queries."""
    if kind == 'resnet':
        widths, width = list(backbone['hidden_sizes']), backbone['hidden_sizes'][0] // 4
        model.backbone.update(
            depth=_DEPTHS[tuple(backbone['depths'])], base_channels=width,
            stem_channels=backbone['embedding_size'], init_cfg=None)
    else:
        widths = [backbone['embed_dim'] * 2**stage for stage in range(4)]
        model.backbone = ConfigDict(
            type='SwinTransformer', pretrain_img_size=backbone['image_size'],
            embed_dims=backbone['embed_dim'], depths=tuple(backbone['depths']),
            num_heads=tuple(backbone['num_heads']), window_size=backbone['window_size'],
            # config.json has 4.0; mmdet multiplies widths by it
            mlp_ratio=int(backbone['mlp_ratio']), qkv_bias=backbone['qkv_bias'],
            drop_path_rate=backbone.get('drop_path_rate', 0.1), out_indices=(0, 1, 2, 3))
    head = model.panoptic_head
    head.update(in_channels=widths, channels=settings['hidden_dim'],
                out_channels=settings['mask_feature_size'], num_queries=settings['num_queries'],
                project_inputs=settings['enforce_input_projection'])
    head.pixel_decoder.update(
        num_layers=settings['encoder_layers'], num_heads=settings['num_attention_heads'],
        feedforward_channels=settings['encoder_feedforward_dim'])
    if settings['feature_size'] != settings['hidden_dim']:
        head.pixel_decoder.channels = settings['feature_size']
    head.transformer_decoder.update(
        # transformers counts the prediction before the first layer
        num_layers=settings['decoder_layers'] - 1, num_heads=settings['num_attention_heads'],
        feedforward_channels=settings['dim_feedforward'])
    head.criterion.no_object_weight = settings['no_object_weight']


def _set_classes(cfg: Config, names: list[str], things: int) -> None:
    """Set the classes of a folder that this library exported."""
    cfg.model.update(num_things_classes=things, num_stuff_classes=len(names) - things)
    for loader in (cfg.test_dataloader, cfg.val_dataloader):
        first_dataset(loader.dataset)['metainfo'] = dict(
            classes=tuple(names), thing_classes=tuple(names[:things]),
            stuff_classes=tuple(names[things:]))


def _set_images(cfg: Config, file: Path, set_size: bool) -> None:
    """Set normalization, and the size of test images of a folder that this library exported."""
    if not file.is_file():
        return
    content = _read(file)
    mean, std = content.get('image_mean'), content.get('image_std')
    if content.get('do_normalize', True) and mean and std:
        scale = 1 if content.get('do_rescale', True) is False else 255
        cfg.model.data_preprocessor.update(
            mean=[round(scale * value, 3) for value in mean],
            std=[round(scale * value, 3) for value in std])
    size = content.get('size')
    if not set_size or not isinstance(size, dict):
        return
    step: dict[str, Any] = dict(type='Resize')
    if 'longest_edge' in size:
        step.update(scale=(size['longest_edge'], size['shortest_edge']), keep_ratio=True)
    else:
        step.update(scale=(size['width'], size['height']), keep_ratio=False)
    for loader in (cfg.test_dataloader, cfg.val_dataloader):
        dataset = first_dataset(loader.dataset)
        dataset['pipeline'] = [step if 'Resize' in str(other.get('type')) else other
                               for other in dataset['pipeline']]
