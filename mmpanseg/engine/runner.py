"""mmengine's runner with checks of a run's settings, and the file of a test's predictions."""
import contextlib
import io
import logging
from collections.abc import Sequence
from typing import Any

from mmdet.structures.mask import encode_mask_results
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.evaluator import DumpResults as DumpAllResults
from mmengine.hooks import CheckpointHook, EarlyStoppingHook, Hook, LoggerHook
from mmengine.logging import MMLogger
from mmengine.model import is_model_wrapper, revert_sync_batchnorm
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS as ROOT_HOOKS
from mmengine.registry import LOOPS, Registry
from mmengine.runner import (
    BaseLoop,
    EpochBasedTrainLoop,
    IterBasedTrainLoop,
    Runner,
)
from mmengine.visualization import Visualizer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mmpanseg.engine.checkpoint_files import (
    LatestCheckpoint,
    atomic_backend,
    folders_of,
    resumed_checkpoint,
)
from mmpanseg.engine.command_line import UsageError, one_line
from mmpanseg.engine.console import ConsoleFilter, replace_console, split_messages
from mmpanseg.engine.guarded_training import guarded_training
from mmpanseg.engine.hooks import (
    BatchSizeHook,
    CheckpointMetaHook,
    ClassConsistencyHook,
    ClassScoresHook,
    DataCheckHook,
    FiniteCheckpointHook,
    InterruptionHook,
    LoadSummaryHook,
    NonFiniteHook,
    ResumeHook,
    RunSummaryHook,
    SafeCheckpointHook,
    ScheduleConsistencyHook,
)
from mmpanseg.engine.hooks.activation_checkpointing_hook import use_activation_checkpointing
from mmpanseg.engine.hooks.checkpoint_hook import as_safe_hook
from mmpanseg.engine.launch import check_checkpoint
from mmpanseg.engine.loaders import with_sized_sampler, without_worker_options
from mmpanseg.engine.log_backends import use_log_backends
from mmpanseg.engine.parameter_names import check_paramwise
from mmpanseg.engine.stop_signals import WorkerInit
from mmpanseg.engine.tolerant_logging import tolerate_curve_errors, tolerate_log_errors
from mmpanseg.engine.training_loader import build_resumable
from mmpanseg.engine.work_dir_lock import is_locked
from mmpanseg.registry import RUNNERS

# Registered in every run, independent of the config's lists of hooks.
_ALWAYS = (BatchSizeHook, ClassConsistencyHook, LoadSummaryHook, ScheduleConsistencyHook,
           RunSummaryHook, CheckpointMetaHook, NonFiniteHook, FiniteCheckpointHook,
           InterruptionHook, ResumeHook, DataCheckHook, ClassScoresHook)
_LOGGERS = ('LoggerHook', 'mmengine.LoggerHook', LoggerHook)
# Parts of the names of scores: panoptic, instance and semantic segmentation, queries.
_GREATER_IS_BETTER = ('PQ', 'SQ', 'RQ', 'AP', 'IoU', 'Util')
_GROUND_TRUTH = ('gt_segments', 'gt_instances', 'ignored_instances', 'gt_panoptic_seg')
_LENGTHS = {EpochBasedTrainLoop: 'max_epochs', IterBasedTrainLoop: 'max_iters'}


@RUNNERS.register_module()
class PanopticRunner(Runner):
    """mmengine's Runner with checks that are independent of the config's lists of hooks.

    - Hooks that compare classes, batch size, checkpoint and schedule with the run are registered
      once in every run.
    - A resumed run continues as if it had not been interrupted, see :class:`ResumeHook`.
    - ``num_workers=0`` removes other options of workers; training by epochs uses a finite sampler.
    - Scores are logged with the number of the training step.
    - ``save_best`` and early stopping treat higher scores of this library's metrics as better.
    - Checkpoints are complete at every moment (:class:`SafeCheckpointHook`), one training at a time
      writes to a work dir, and signals end a training with a checkpoint.
    - Without a GPU batch norms are not synchronized.
    - The console shows a summary of the run; environment, config and hooks are written to the log
      file only. ``log_level='DEBUG'`` shows all of it.

    With ``runner_type='mmpanseg.PanopticRunner'`` in a config mmdet's own tools use this runner.

    Args:
        args: see mmengine's Runner.
        load_from: file or URL of a checkpoint to load, None for none.
        kwargs: see mmengine's Runner.

    Raises:
        UsageError: the checkpoint of ``load_from`` is missing, or, to resume, no checkpoint of the
            work dir is complete.
    """

    # configs until they are built
    _train_dataloader: DataLoader | dict | None
    _val_dataloader: DataLoader | dict | None
    _test_dataloader: DataLoader | dict | None

    def __init__(self, *args: Any, load_from: str | None = None, **kwargs: Any) -> None:
        if load_from:
            check_checkpoint(str(load_from))
        self._console = ConsoleFilter()
        super().__init__(*args, load_from=load_from, **kwargs)
        self._latest: LatestCheckpoint | None = None
        if self._resume and load_from is None:
            self._choose_latest()

    @classmethod
    def from_cfg(cls, cfg: Config) -> Runner:
        """Build a runner from a config, with ``activation_checkpointing`` and ``log_to``."""
        use_activation_checkpointing(cfg)
        use_log_backends(cfg)
        return super().from_cfg(cfg)

    def build_logger(self, log_level: int | str = 'INFO', *args: Any, **kwargs: Any) -> MMLogger:
        """Build the run's logger; its console omits messages that only the file contains."""
        logger = super().build_logger(log_level, *args, **kwargs)
        level = logging.getLevelName(log_level) if isinstance(log_level, str) else log_level
        if level > logging.DEBUG:
            for handler in logger.handlers:
                if not isinstance(handler, logging.FileHandler):
                    handler.addFilter(self._console)
        replace_console(logger)
        tolerate_log_errors(logger)
        return logger

    def build_visualizer(self, visualizer: Visualizer | dict | None = None) -> Visualizer:
        """Build the run's visualizer under the run's name.

        Under a shared name the visualizer of an earlier run would write to that run's folder.
        """
        if isinstance(visualizer, dict):
            visualizer = dict(visualizer, name=self.experiment_name)
        built = super().build_visualizer(visualizer)
        tolerate_curve_errors(built, self.logger)
        return built

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Wrap the model for several processes; on a CPU with plain batch norms."""
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
            self.cfg.sync_bn = wanted  # checkpoints contain the config

    def register_hooks(self, default_hooks: dict | None = None,
                       custom_hooks: list | None = None) -> None:
        """Register the hooks of the config and those of every run."""
        defaults = {name: as_safe_hook(_with_rule(hook))
                    for name, hook in _log_at_steps(default_hooks).items()}
        defaults.setdefault('checkpoint', SafeCheckpointHook(interval=1))
        super().register_hooks(defaults, [as_safe_hook(_with_rule(hook))
                                          for hook in custom_hooks or []])
        for kind in _ALWAYS:
            found = [hook for hook in self._hooks if isinstance(hook, kind)]
            if not found:
                self.register_hook(kind())
            for hook in found[1:]:  # named by the config, too
                self._hooks.remove(hook)

    @staticmethod
    def build_dataloader(dataloader: DataLoader | dict, *args: Any, **kwargs: Any) -> DataLoader:
        """Build a data loader without options that it refuses, see mmengine's Runner."""
        if isinstance(dataloader, dict):
            dataloader = without_worker_options(dataloader)
        loader = Runner.build_dataloader(dataloader, *args, **kwargs)
        if loader.num_workers and not isinstance(loader.worker_init_fn, WorkerInit):
            loader.worker_init_fn = WorkerInit(loader.worker_init_fn)
        return loader

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build the training loop with a sampler that fits it.

        Raises:
            ValueError: training by epochs with an infinite sampler.
        """
        if not isinstance(loop, dict) or self._train_dataloader is None:
            return super().build_train_loop(loop)
        kind = _loop_class(loop)
        if kind is not None and kind in _LENGTHS:
            # a config that inherits the other loop contains its length as well
            others = [key for other, key in _LENGTHS.items() if other is not kind and key in loop]
            if others and _LENGTHS[kind] in loop:
                self.logger.info(f'train_cfg.{others[0]} is not used by {kind.__name__}')
                loop = {key: value for key, value in loop.items() if key not in others}
        if kind is EpochBasedTrainLoop and isinstance(self._train_dataloader, dict):
            self._train_dataloader = with_sized_sampler(self._train_dataloader, 'train')
        return build_resumable(self, loop, kind, super().build_train_loop)

    def build_val_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build the validation loop with a finite sampler.

        Raises:
            ValueError: the sampler is infinite and has no finite counterpart.
        """
        if isinstance(self._val_dataloader, dict):
            self._val_dataloader = with_sized_sampler(self._val_dataloader, 'val')
        return super().build_val_loop(loop)

    def build_test_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build the test loop with a finite sampler.

        Raises:
            ValueError: the sampler is infinite and has no finite counterpart.
        """
        if isinstance(self._test_dataloader, dict):
            self._test_dataloader = with_sized_sampler(self._test_dataloader, 'test')
        return super().build_test_loop(loop)

    def build_optim_wrapper(self, optim_wrapper: OptimWrapper | dict) -> OptimWrapper:
        """Build the optimizer wrapper.

        Raises:
            ValueError: ``paramwise_cfg`` contains an unknown key, or a name that matches no
                parameter of the model.
        """
        if isinstance(optim_wrapper, dict):
            check_paramwise(optim_wrapper, self.model)
        return super().build_optim_wrapper(optim_wrapper)

    def _choose_latest(self) -> None:
        """Choose the checkpoint in the work dir that a run is to resume."""
        self._latest = resumed_checkpoint(self.work_dir, folders_of(self.hooks, self.work_dir),
                                          self.logger, self._latest)
        self._load_from = self._latest.path

    def train(self) -> nn.Module:
        """Train as the only process that writes to the work dir, see mmengine's Runner.

        Raises:
            UsageError: another training writes to the work dir.
            TrainingStopped: a signal (Ctrl-C) stopped the training.
        """
        with guarded_training(self):
            if self._latest is not None and not self._has_loaded:
                self._choose_latest()
            return super().train()

    def save_checkpoint(self, out_dir: str, filename: str, file_client_args: dict | None = None,
                        *args: Any, backend_args: dict | None = None, **kwargs: Any) -> None:
        """Save a checkpoint with the states of all processes; each of them must call it.

        A local file is complete or is not there. Arguments: see mmengine's Runner.
        """
        for hook in self._hooks:
            if isinstance(hook, ResumeHook):
                hook.gather(self)
        atomic = atomic_backend(out_dir, file_client_args, backend_args)
        if atomic is not None:
            file_client_args, backend_args = None, atomic
        super().save_checkpoint(out_dir, filename, file_client_args, *args,
                                backend_args=backend_args, **kwargs)

    def dump_config(self) -> None:
        """Write the config to the work dir, unless it belongs to another run."""
        if is_locked(self.work_dir):
            return
        try:
            super().dump_config()
        except OSError as error:
            raise UsageError(f'cannot write to {self.work_dir}: {one_line(error)}') from error

    def load_checkpoint(self, *args: Any, **kwargs: Any) -> dict:
        """Load a checkpoint; LoadSummaryHook logs which of its tensors fit the model."""
        printed = io.StringIO()
        with self._console.mismatch_hidden():
            try:
                with contextlib.redirect_stdout(printed):  # mmengine prints without a logger
                    return super().load_checkpoint(*args, **kwargs)
            finally:
                for text in split_messages(printed.getvalue()):
                    self.logger.info(text)


def _loop_class(loop: dict) -> type | None:
    kind = loop.get('type')
    if kind is None:
        return EpochBasedTrainLoop if loop.get('by_epoch') else IterBasedTrainLoop
    return _class_of(kind, LOOPS)


def _class_of(kind: str | type, registry: Registry) -> type | None:
    if not isinstance(kind, str):
        return kind
    with registry.switch_scope_and_registry(None) as scoped:
        return scoped.get(kind)


def _with_rule(hook: Hook | dict | None) -> Hook | dict | None:
    """Add to a hook that compares scores that those of this library are better when greater.

    mmengine infers this from the names of its own scores only. A rule of the config remains.

    Args:
        hook: config of a hook; hooks that are built already are returned unchanged.

    Returns:
        The config, or a copy with ``greater_keys`` (``CheckpointHook``) or ``rule``
        (``EarlyStoppingHook``).
    """
    if not isinstance(hook, dict):
        return hook
    kind: Any = _class_of(hook['type'], ROOT_HOOKS) if 'type' in hook else None
    if not isinstance(kind, type):
        return hook
    if issubclass(kind, EarlyStoppingHook):  # before CheckpointHook, which stores its counts
        hook = dict(dict(priority='LOW'), **hook)
    if hook.get('rule') is not None:
        return hook
    if issubclass(kind, CheckpointHook) and hook.get('greater_keys') is None:
        return dict(hook, greater_keys=[*CheckpointHook._default_greater_keys, *_GREATER_IS_BETTER])
    if issubclass(kind, EarlyStoppingHook) and any(
            key.lower() in hook.get('monitor', '').lower() for key in _GREATER_IS_BETTER):
        return dict(hook, rule='greater')
    return hook


def _log_at_steps(default_hooks: dict | None) -> dict[str, Hook | dict | None]:
    """Log scores with the training step; mmengine's default is the epoch, 0 in runs by steps."""
    hooks = dict(default_hooks or {})
    logger = hooks.get('logger', dict(type='LoggerHook'))
    if isinstance(logger, dict) and logger.get('type') in _LOGGERS:
        hooks['logger'] = dict(dict(log_metric_by_epoch=False), **logger)
    return hooks


class DumpResults(DumpAllResults):
    """Writes data samples without their ground truth as a pickle of dicts, for ``test.py --out``.

    Masks of instances are run lengths in it for every ``model.test_cfg.mask_format``.

    Args:
        out_file_path: name of the file, with the ending .pkl or .pickle.
    """

    default_prefix = 'dump'  # without a prefix mmengine warns, although there are no scores

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Store the predictions of a batch on the CPU."""
        super().process(data_batch, [_prediction(sample) for sample in data_samples])


def _prediction(sample: dict) -> dict:
    """Return the entries of a sample other than its ground truth."""
    kept = {key: value for key, value in sample.items() if key not in _GROUND_TRUTH}
    masks = kept.get('pred_instances', {}).get('masks')
    if isinstance(masks, Tensor):
        kept['pred_instances'] = dict(
            kept['pred_instances'], masks=encode_mask_results(masks.cpu().numpy()))
    return kept
