"""Building of a segmentor with the weights of a checkpoint, to predict."""
import logging
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.model.utils import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import _load_checkpoint_to_model

from mmpanseg.apis.predictor_errors import PredictorError
from mmpanseg.checkpoints.meta_comparison import STRICT, report_differences, setting_differences
from mmpanseg.checkpoints.sources import CheckpointError, foreign_file
from mmpanseg.datasets.metainfo import config_metainfo
from mmpanseg.engine.command_line import one_line
from mmpanseg.models.segmentors import MaskTransformer
from mmpanseg.registry import MODELS


def load_segmentor(cfg: Config, weights: str, device: str | None = None,
                   content: Mapping | None = None) -> MaskTransformer:
    """Build the model of a config with the weights of a checkpoint, in evaluation mode.

    Class names are those of the checkpoint, else those of the config's data set, else numbers.
    ``cfg`` and ``dataset_meta`` of the model are set, as mmdet's ``init_detector`` does.

    Args:
        cfg: config with ``model``.
        weights: path or URL of the checkpoint.
        device: such as 'cpu' or 'cuda:0' (default: a GPU if there is one).
        content: content of the checkpoint, if it is read already.

    Raises:
        CheckpointError: the file is missing or cannot be read, or the weights or classes do not fit
            the config.
        PredictorError: the config cannot be built, is that of another kind of model, or the device
            does not exist.
    """
    target = find_device(device)
    if text := foreign_file(weights, str(cfg.filename or 'CONFIG')):
        raise CheckpointError(text)
    try:
        checkpoint = content or CheckpointLoader.load_checkpoint(weights, map_location='cpu')
    except FileNotFoundError as error:
        raise CheckpointError(f'{weights} does not exist: give the path of a checkpoint') from error
    except OSError as error:
        raise CheckpointError(f'{weights} cannot be read: {one_line(error)}') from error
    model = build_segmentor(cfg)
    meta = checkpoint.get('meta') if isinstance(checkpoint, Mapping) else None
    report_differences(setting_differences(meta, cfg), bool(cfg.get(STRICT)), weights)
    try:
        _load_checkpoint_to_model(model, checkpoint)
        model.dataset_meta = _described_classes(meta, cfg, weights)
        # compares the weights and the class names with the config
        model.cfg = cfg
    except CheckpointError as error:
        raise CheckpointError(f'{weights}: {str(error).removeprefix(f"{weights}: ")}') from error
    except (ValueError, RuntimeError) as error:
        raise CheckpointError(f'{weights}: {one_line(error)}') from error
    model.to(target).eval()
    return model


def build_segmentor(cfg: Config) -> MaskTransformer:
    """Build the model of a config without weights.

    Args:
        cfg: config with ``model``; pretrained weights of the backbone are not loaded.

    Raises:
        PredictorError: the config cannot be built, or is that of another kind of model.
    """
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    options = cfg.model.copy()
    if options.get('backbone', {}).get('init_cfg') is not None:
        options.backbone = dict(options.backbone, init_cfg=None)
    try:
        model = MODELS.build(options)
    except (ValueError, TypeError, KeyError, AttributeError, ImportError) as error:
        raise PredictorError(f'the model of {cfg.filename or "the config"} cannot be built: '
                             f'{one_line(error)}') from error
    if not isinstance(model, MaskTransformer):
        raise PredictorError(
            f'the model of {cfg.filename or "the config"} is a {type(model).__name__}, no '
            "mmpanseg.MaskTransformer: use mmdet's DetInferencer for it")
    return revert_sync_batchnorm(model)


def find_device(device: str | torch.device | None = None) -> torch.device:
    """Return a device.

    Args:
        device: name of it (default: a GPU if there is one).

    Raises:
        PredictorError: it does not exist.
    """
    try:
        found = torch.device(device or get_device())
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise PredictorError(f'device={str(device)!r} cannot be used '
                             f'({str(error).splitlines()[0]}): choose cpu, or cuda:0 where there '
                             'is a GPU') from error
    return found


def _described_classes(meta: Any, cfg: Config, weights: str) -> dict:
    """Meta information of the data set: the checkpoint's, else the config's, else {}."""
    meta = meta if isinstance(meta, Mapping) else {}
    described = meta.get('dataset_meta')
    if isinstance(described, Mapping):
        described = {str(key).lower(): value for key, value in described.items()}
    elif 'CLASSES' in meta:
        described = dict(classes=meta['CLASSES'])
    configured = config_metainfo(cfg)
    if not described or not described.get('classes'):
        names = ('those of the config\'s data set' if configured else 'numbers: class 0, class 1, '
                 '...; name them with metainfo of test_dataloader.dataset')
        print_log(f'{weights} has no class names: its classes get {names}', logger='current',
                  level=logging.WARNING)
        described = dict(described or {}, **configured)
    if 'palette' in configured:
        described['palette'] = configured['palette']
    return described
