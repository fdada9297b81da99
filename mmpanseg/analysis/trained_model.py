"""Loading of a trained model for analysis tools."""
from argparse import Namespace
from typing import Any

from mmdet.apis import init_detector
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmengine.runner import CheckpointLoader
from torch import nn
from torch.utils.data import DataLoader

from mmpanseg.checkpoints import CheckpointError
from mmpanseg.checkpoints.meta_comparison import report_differences, setting_differences
from mmpanseg.datasets.metainfo import common_metainfo
from mmpanseg.engine import (
    PanopticRunner,
    UsageError,
    check_checkpoint,
    check_model_config,
    load_config,
    user_mistakes,
)


def load_trained(args: Namespace) -> tuple[nn.Module, DataLoader]:
    """Build a model in evaluation mode with the weights of a checkpoint, and its test data.

    Args:
        args: parsed arguments of :func:`mmpanseg.engine.add_model_options`.

    Raises:
        UsageError: the config or the checkpoint is missing, the checkpoint belongs to another model
            or has other classes, or the model or its data cannot be built.
    """
    cfg = load_config(args.config, args.cfg_options)
    check_model_config(cfg, args.config, 'test_dataloader')
    checkpoint = check_checkpoint(args.checkpoint, args.config)
    model = build_trained(cfg, checkpoint, getattr(args, 'strict_meta', False))
    with user_mistakes():
        loader = PanopticRunner.build_dataloader(cfg.test_dataloader)
    model.dataset_meta = common_metainfo(getattr(loader.dataset, 'metainfo', None))
    return model, loader


def build_trained(cfg: Config, checkpoint: str, strict: bool = False,
                  device: str | None = None) -> Any:
    """Build a model in evaluation mode with the weights of a checkpoint.

    Args:
        cfg: config of a whole run; changed in place.
        checkpoint: file or URL.
        strict: refuse a checkpoint that was trained with other settings than the config has;
            without, warn.
        device: by default a GPU if there is one.

    Raises:
        UsageError: the checkpoint belongs to another model or has other classes, or the model
            cannot be built.
    """
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    if strict:
        cfg.strict_meta = True
    with user_mistakes():
        try:
            model = init_detector(cfg, checkpoint, device=device or get_device())
            meta = CheckpointLoader.load_checkpoint(checkpoint, map_location='cpu').get('meta')
            report_differences(setting_differences(meta, cfg), strict, checkpoint)
        except CheckpointError as error:
            text = str(error).removeprefix(f'{checkpoint}: ')
            raise UsageError(f'{checkpoint}: {text}') from error
    return model
