"""mmengine's runner, made ready for what users of this library bring."""
import contextlib
import io
import logging
from pathlib import Path
from typing import Any

from mmengine.device import get_device
from mmengine.hooks import Hook, LoggerHook
from mmengine.logging import MMLogger
from mmengine.model import is_model_wrapper, revert_sync_batchnorm
from mmengine.optim import OptimWrapper
from mmengine.registry import LOOPS
from mmengine.runner import (
    BaseLoop,
    EpochBasedTrainLoop,
    IterBasedTrainLoop,
    Runner,
    find_latest_checkpoint,
)
from mmengine.visualization import Visualizer
from torch import nn
from torch.utils.data import DataLoader

from mmpanseg.engine.console import ConsoleFilter, split_messages
from mmpanseg.engine.hooks import (
    BatchSizeHook,
    ClassConsistencyHook,
    LoadSummaryHook,
    RunSummaryHook,
    ScheduleConsistencyHook,
)
from mmpanseg.engine.launch import UsageError, check_checkpoint
from mmpanseg.engine.loaders import with_sized_sampler, without_worker_options
from mmpanseg.engine.parameter_names import check_paramwise
from mmpanseg.registry import RUNNERS

# Registered in every run, whatever lists of hooks a config has.
_ALWAYS = (BatchSizeHook, ClassConsistencyHook, LoadSummaryHook, ScheduleConsistencyHook,
           RunSummaryHook)
_LOGGERS = ('LoggerHook', 'mmengine.LoggerHook', LoggerHook)
_LENGTHS = {EpochBasedTrainLoop: 'max_epochs', IterBasedTrainLoop: 'max_iters'}


@RUNNERS.register_module()
class PanopticRunner(Runner):
    """mmengine's Runner with checks that no config can lose, and a log for people.

    - Hooks that compare classes, batch size, checkpoint and schedule with the run are always there,
      once.
    - ``num_workers=0`` switches off other options of workers; training by epochs gets a sampler
      that ends.
    - Scores are logged at the training step that they belong to.
    - Without a GPU batch norms are not synchronized.
    - The console shows a summary of the run; environment, config and hooks go to the log file. With
      ``log_level='DEBUG'`` all of it is shown.

    ``runner_type='mmpanseg.PanopticRunner'`` in a config makes mmdet's own tools use it.

    Args:
        args, kwargs, load_from: see mmengine's Runner.

    Raises:
        UsageError: the checkpoint of ``load_from`` is missing, or the latest one of the work dir,
            if that is to be resumed.
    """

    def __init__(self, *args: Any, load_from: str | None = None, **kwargs: Any) -> None:
        if load_from:
            check_checkpoint(str(load_from))
        self._console = ConsoleFilter()
        super().__init__(*args, load_from=load_from, **kwargs)
        if self._resume and load_from is None:
            self._check_latest()

    def build_logger(self, log_level: int | str = 'INFO', *args: Any, **kwargs: Any) -> MMLogger:
        """The run's logger; its console leaves out what belongs into the file."""
        logger = super().build_logger(log_level, *args, **kwargs)
        if logging._checkLevel(log_level) > logging.DEBUG:
            for handler in logger.handlers:
                if not isinstance(handler, logging.FileHandler):
                    handler.addFilter(self._console)
        return logger

    def build_visualizer(self, visualizer: Visualizer | dict | None = None) -> Visualizer:
        """The run's visualizer: one of its own, or curves would go to an earlier run's folder."""
        if isinstance(visualizer, dict):
            visualizer = dict(visualizer, name=self.experiment_name)
        return super().build_visualizer(visualizer)

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """The model, wrapped for several processes; on a CPU with plain batch norms."""
        if get_device() != 'cpu' or is_model_wrapper(model):
            return super().wrap_model(model_wrapper_cfg, model)
        wanted = self.cfg.get('sync_bn')
        if wanted or any(isinstance(part, nn.SyncBatchNorm) for part in model.modules()):
            self.logger.info('Without a GPU batch norms are not synchronized: each process '
                             'normalizes its own images')
        model = revert_sync_batchnorm(model)
        if not wanted:
            return super().wrap_model(model_wrapper_cfg, model)
        self.cfg.sync_bn = None
        try:
            return super().wrap_model(model_wrapper_cfg, model)
        finally:
            self.cfg.sync_bn = wanted  # checkpoints keep the config as it was given

    def register_hooks(self, default_hooks: dict | None = None,
                       custom_hooks: list | None = None) -> None:
        """Register the config's hooks, and those that every run has."""
        super().register_hooks(_log_at_steps(default_hooks), custom_hooks)
        for kind in _ALWAYS:
            found = [hook for hook in self._hooks if isinstance(hook, kind)]
            if not found:
                self.register_hook(kind())
            for hook in found[1:]:  # named by the config, too
                self._hooks.remove(hook)

    @staticmethod
    def build_dataloader(dataloader: DataLoader | dict, *args: Any, **kwargs: Any) -> DataLoader:
        """A data loader of its config, see mmengine's Runner."""
        if isinstance(dataloader, dict):
            dataloader = without_worker_options(dataloader)
        return Runner.build_dataloader(dataloader, *args, **kwargs)

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """The training loop of its config, with data that fit it.

        Raises:
            ValueError: training by epochs with a sampler that has no end.
        """
        if not isinstance(loop, dict):
            return super().build_train_loop(loop)
        kind = _loop_class(loop)
        if kind in _LENGTHS:
            # a config that inherits the other loop has its length as well
            others = [key for other, key in _LENGTHS.items() if other is not kind and key in loop]
            if others and _LENGTHS[kind] in loop:
                self.logger.info(f'train_cfg.{others[0]} is not used by {kind.__name__}')
                loop = {key: value for key, value in loop.items() if key not in others}
        if kind is EpochBasedTrainLoop and isinstance(self._train_dataloader, dict):
            self._train_dataloader = with_sized_sampler(self._train_dataloader, 'train')
        return super().build_train_loop(loop)

    def build_val_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """The validation loop of its config; raises as :meth:`build_train_loop`."""
        if isinstance(self._val_dataloader, dict):
            self._val_dataloader = with_sized_sampler(self._val_dataloader, 'val')
        return super().build_val_loop(loop)

    def build_test_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """The test loop of its config; raises as :meth:`build_train_loop`."""
        if isinstance(self._test_dataloader, dict):
            self._test_dataloader = with_sized_sampler(self._test_dataloader, 'test')
        return super().build_test_loop(loop)

    def build_optim_wrapper(self, optim_wrapper: OptimWrapper | dict) -> OptimWrapper:
        """The optimizer wrapper of its config.

        Raises:
            ValueError: ``paramwise_cfg`` has a key or a name that nothing in the model has.
        """
        if isinstance(optim_wrapper, dict):
            check_paramwise(optim_wrapper, self.model)
        return super().build_optim_wrapper(optim_wrapper)

    def _check_latest(self) -> None:
        """What there is to resume in the work dir."""
        latest = find_latest_checkpoint(self.work_dir)
        if latest is None:
            self.logger.warning(f'no checkpoint to resume in {self.work_dir}: training starts at '
                                'its first step')
        elif not Path(latest).exists():
            raise UsageError(
                f'the latest checkpoint of {self.work_dir}, {latest}, does not exist: name another '
                'one, e.g. --resume PATH, or remove the file last_checkpoint')

    def load_checkpoint(self, *args: Any, **kwargs: Any) -> dict:
        """Load a checkpoint; what of it fits the model is told by LoadSummaryHook."""
        printed = io.StringIO()
        with self._console.mismatch_told():
            try:
                with contextlib.redirect_stdout(printed):  # mmengine prints here past all loggers
                    return super().load_checkpoint(*args, **kwargs)
            finally:
                for text in split_messages(printed.getvalue()):
                    self.logger.info(text)


def _loop_class(loop: dict) -> type | None:
    kind = loop.get('type')
    if kind is None:
        return EpochBasedTrainLoop if loop.get('by_epoch') else IterBasedTrainLoop
    if not isinstance(kind, str):
        return kind
    with LOOPS.switch_scope_and_registry(None) as registry:
        return registry.get(kind)


def _log_at_steps(default_hooks: dict | None) -> dict[str, Hook | dict | None]:
    """Scores at training steps; mmengine's default, epochs, are all 0 when steps are counted."""
    hooks = dict(default_hooks or {})
    logger = hooks.get('logger', dict(type='LoggerHook'))
    if isinstance(logger, dict) and logger.get('type') in _LOGGERS:
        hooks['logger'] = dict(dict(log_metric_by_epoch=False), **logger)
    return hooks
