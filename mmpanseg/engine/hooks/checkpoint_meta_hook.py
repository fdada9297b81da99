"""Comparison of a checkpoint's own description with the run that loads it."""
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner

from mmpanseg.checkpoints.meta_comparison import (
    STRICT,
    class_differences,
    report_differences,
    setting_differences,
)
from mmpanseg.checkpoints.sources import CheckpointError
from mmpanseg.datasets.metainfo import common_metainfo
from mmpanseg.engine.command_line import UsageError
from mmpanseg.registry import HOOKS
from mmpanseg.utils.modules import unwrap_model


@HOOKS.register_module()
class CheckpointMetaHook(Hook):
    """Warns where a checkpoint was trained with other classes or images than the run has.

    Compared are the names of classes and the number of things, if the numbers of classes are equal;
    normalization and channels of the images; and, in a test or a resumed training, padding and test
    size. ``strict_meta=True`` in the config makes each difference an error.

    Raises:
        UsageError: with ``strict_meta``, the settings differ; the text names both values.
    """

    priority = 'LOW'

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        meta = checkpoint.get('meta')
        training = isinstance(runner._train_loop, BaseLoop)
        fine_tuning = training and not runner._resume
        things = getattr(unwrap_model(runner.model), 'num_things_classes', None)
        lines = [*class_differences(meta, _names(runner), things),
                 *setting_differences(meta, runner.cfg, fine_tuning)]
        try:
            report_differences(lines, bool(runner.cfg.get(STRICT)),
                               str(runner._load_from or 'the checkpoint'))
        except CheckpointError as error:
            raise UsageError(str(error)) from error


def _names(runner: Runner) -> tuple[str, ...]:
    """Class names of the data that the run uses first."""
    for loop in (runner._train_loop, runner._test_loop, runner._val_loop):
        if isinstance(loop, BaseLoop):
            meta = common_metainfo(getattr(loop.dataloader.dataset, 'metainfo', None)) or {}
            return tuple(meta.get('classes') or ())
    return ()
