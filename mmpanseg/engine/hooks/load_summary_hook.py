"""Report of the tensors that a model loads from the checkpoint of ``load_from``."""
import re

from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, CheckpointLoader, Runner, find_latest_checkpoint
from torch import nn

from mmpanseg.checkpoints.checkpoint_fit import CheckpointFit, compare_tensors, shortened_list
from mmpanseg.checkpoints.class_names import class_names_of_meta
from mmpanseg.datasets.metainfo import check_class_names
from mmpanseg.engine.command_line import UsageError
from mmpanseg.models.segmentors.checked_loading import pretrained_files, skip_pretrained
from mmpanseg.registry import HOOKS
from mmpanseg.utils.modules import unwrap_model


@HOOKS.register_module()
class LoadSummaryHook(Hook):
    """Logs which tensors of a checkpoint fit the model; the others keep their initial values.

    Fine-tuning with other classes needs ``load_from`` only: layers of another shape, such as the
    classifier, are initialized. In a test and a resumed training this is an error. Submodules that
    the checkpoint contains do not download their pretrained weights.

    Raises:
        UsageError: no tensor fits; the text names the code base if the checkpoint must be
            converted first. Before testing and resuming: the checkpoint belongs to another model,
            see :meth:`mmpanseg.checkpoints.checkpoint_fit.Fit.misfit`.
    """

    priority = 'LOW'  # after hooks that exchange weights, such as EMAHook

    def before_run(self, runner: Runner) -> None:
        model, path = unwrap_model(runner.model), _checkpoint_path(runner)
        if path is None or not _is_training(runner) or not any(
                map(pretrained_files, model.modules())):
            return
        checkpoint = CheckpointLoader.load_checkpoint(path, map_location='cpu')
        weights = dict(checkpoint.get('state_dict', checkpoint))
        _adapt_channels(model, weights)
        fit = compare_tensors(weights, model.state_dict())
        _refuse_foreign(fit, runner)  # before anything is downloaded
        skip_pretrained(model, fit)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        weights = checkpoint.get('state_dict', checkpoint)
        if _is_training(runner) and not runner._resume:
            _adapt_channels(unwrap_model(runner.model), weights)
        fit = compare_tensors(weights, unwrap_model(runner.model).state_dict())
        _refuse_foreign(fit, runner)
        if runner._resume or not _is_training(runner):
            if fit.misfit():
                raise UsageError(fit.misfit())
            _check_names(runner, checkpoint)
        for key in list(weights):  # the remaining tensors are loaded by name
            if re.sub(r'^module\.', '', key) in fit.reshaped:
                del weights[key]
        lines = [f'{len(fit.fitting)} of the model\'s {fit.wanted} tensors are in the checkpoint']
        for entries, what in ((fit.differences(), 'of another shape, start anew'),
                              (fit.missing, 'not in the checkpoint, start anew'),
                              (fit.unused, 'only in the checkpoint, not used')):
            if entries:
                lines.append(f'{len(entries)} {what}: {shortened_list(entries)}')
        runner.logger.info('\n  '.join(lines))


def _adapt_channels(model: nn.Module, weights: dict) -> None:
    """Adapt weights to the channels of the images, in place, where the model can."""
    adapt = getattr(model, 'adapt_channels', None)
    if adapt is not None:
        try:
            adapt(weights)
        except ValueError as error:
            raise UsageError(str(error)) from error


def _refuse_foreign(fit: CheckpointFit, runner: Runner) -> None:
    """Refuse checkpoints of other code bases, and those without any tensor of the model."""
    file, config = str(runner._load_from or 'FILE'), str(runner.cfg.filename or 'CONFIG')
    text = fit.foreign(file, config) if fit.fitting else fit.nothing(file, config)
    if text:
        raise UsageError(text)


def _check_names(runner: Runner, checkpoint: dict) -> None:
    """Refuse a checkpoint whose classes are in another order than those of the data."""
    loops = [loop for loop in (runner._train_loop, runner._test_loop, runner._val_loop)
             if isinstance(loop, BaseLoop)]
    if not loops:
        return
    names = getattr(loops[0].dataloader.dataset, 'metainfo', {}).get('classes')
    known = class_names_of_meta(checkpoint.get('meta'))
    if known and names and len(known) == len(names):
        try:
            check_class_names(len(names), known, names)
        except ValueError as error:
            raise UsageError(str(error)) from error


def _is_training(runner: Runner) -> bool:
    return isinstance(runner._train_loop, BaseLoop)


def _checkpoint_path(runner: Runner) -> str | None:
    """Return the checkpoint that ``Runner.load_or_resume`` loads next, None if there is none."""
    if runner._has_loaded:
        return None
    if runner._resume and runner._load_from is None:
        return find_latest_checkpoint(runner.work_dir)
    return runner._load_from
