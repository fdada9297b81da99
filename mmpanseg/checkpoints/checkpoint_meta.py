"""What a checkpoint says about its training: the config in it, and settings of its images."""
from collections.abc import Mapping
from typing import Any

from mmpanseg.checkpoints.config_text import NotLiteral, assigned_literals

# key of `meta` for settings of images in checkpoints without a config, see `image_settings`
SETTINGS = 'image_settings'


def checkpoint_config(meta: Any) -> dict | None:
    """Read the config in ``meta`` of a checkpoint of mmengine; no code in it is executed.

    Args:
        meta: value of the key ``meta``.

    Returns:
        entries of the config that consist of literals, lists, tuples and dicts; None if there is no
        config, or its text contains other statements than assignments.
    """
    config = meta.get('cfg') if isinstance(meta, Mapping) else None
    if isinstance(config, Mapping):
        return dict(config)
    if not isinstance(config, str):
        return None
    try:
        return assigned_literals(config, skip_others=True)
    except (NotLiteral, SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return None


def image_settings(cfg: Mapping) -> dict[str, Any]:
    """List the settings of a config that determine the image that the network receives in a test.

    Args:
        cfg: config of a model and its data, or a part of one.

    Returns:
        value by config key, of plain types. Keys of parts that the config lacks, and the test size
        of tiles and test-time augmentation, are absent.
    """
    return {**_preprocessing(cfg), **_loading(cfg)}


def _preprocessing(cfg: Mapping) -> dict[str, Any]:
    """Settings of the data preprocessor."""
    model = _mapping(cfg.get('model'))
    model = _mapping(model.get('module')) or model  # test-time augmentation wraps the model
    options = _mapping(model.get('data_preprocessor'))
    if not options:
        return {}
    fixed = str(options.get('type')).endswith('FixedSizeDataPreprocessor')
    settings = dict(
        mean=options.get('mean'), std=options.get('std'),
        # both of mmdet's options reverse the channels
        bgr_to_rgb=bool(options.get('bgr_to_rgb') or options.get('rgb_to_bgr')),
        pad_size_divisor=options.get('pad_size_divisor', 1), pad_value=options.get('pad_value', 0),
        size=options.get('size'), divisor=options.get('divisor', 32) if fixed else None)
    return {f'model.data_preprocessor.{key}': _plain(value) for key, value in settings.items()}


def _loading(cfg: Mapping) -> dict[str, Any]:
    """Settings of the test pipeline."""
    steps = _test_pipeline(cfg)
    settings: dict[str, Any] = {}
    loader = next((step for step in steps if _name(step).startswith('LoadImageFrom')
                   or _name(step) == 'LoadChannels'), None)
    if loader is not None:
        every = _name(loader) == 'LoadChannels'
        settings['LoadImageFromFile.color_type'] = loader.get(
            'color_type', 'channels' if every else 'color')
        if every:
            settings['LoadChannels.channels'] = loader.get('channels')
    model = _mapping(cfg.get('model'))
    tiled = _mapping(model.get('test_cfg')).get('tile') is not None
    if steps and not tiled and not any(_name(step) == 'TestTimeAug' for step in steps):
        resize = next((step for step in steps if 'Resize' in _name(step)), {})
        settings.update({
            'Resize.scale': resize.get('scale'), 'Resize.scale_factor': resize.get('scale_factor'),
            'Resize.keep_ratio': resize.get('keep_ratio', False) if resize else None})
        pad = next((step for step in steps if _name(step) == 'Pad'), {})
        settings.update({'Pad.size': pad.get('size'), 'Pad.size_divisor': pad.get('size_divisor')})
    return {f'test_dataloader.dataset.pipeline {key}': _plain(value)
            for key, value in settings.items()}


def _test_pipeline(cfg: Mapping) -> list[Mapping]:
    """Steps of the test pipeline, inside wrappers of data sets; [] if there are none."""
    for key in ('test_dataloader', 'val_dataloader'):
        dataset: Any = _mapping(_mapping(cfg.get(key)).get('dataset'))
        while dataset and 'pipeline' not in dataset:
            parts = dataset.get('datasets')
            dataset = _mapping(parts[0] if isinstance(parts, (list, tuple)) and parts
                               else dataset.get('dataset'))
        steps = dataset.get('pipeline')
        if isinstance(steps, (list, tuple)) and steps:
            return [step for step in steps if isinstance(step, Mapping)]
    return []


def _name(step: Mapping) -> str:
    """Name of the class of a transform, without its scope."""
    kind = step.get('type', '')
    return (kind if isinstance(kind, str) else getattr(kind, '__name__', '')).split('.')[-1]


def _mapping(value: Any) -> Mapping:
    return value if isinstance(value, Mapping) else {}


def _plain(value: Any) -> Any:
    """Convert tuples to lists, and numbers of arrays to those of Python."""
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return value.item() if hasattr(value, 'item') else value
