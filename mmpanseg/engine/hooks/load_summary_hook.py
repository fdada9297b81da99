"""What a model takes from the checkpoint of ``load_from``, and what it does not."""
import re

from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import BaseLoop, Runner
from torch import Tensor

from mmpanseg.checkpoints.sources import CheckpointError, find_source
from mmpanseg.engine.launch import UsageError
from mmpanseg.registry import HOOKS

_NAMED = 6  # parameters that are named, of each kind


@HOOKS.register_module()
class LoadSummaryHook(Hook):
    """Logs which tensors of a checkpoint fit the model; the others keep their initial values.

    Fine-tuning with other classes needs nothing else than ``load_from``: layers of another shape,
    such as the classifier, start anew. Where that cannot be meant it is an error.

    Raises:
        UsageError: no tensor fits; the text names the code base if the checkpoint is to be
            converted first. Before testing, and to resume: a tensor has another shape.
    """

    priority = 'LOW'  # after hooks that exchange weights, such as the one of averaged weights

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        model = runner.model
        while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
            model = model.module
        wanted = model.state_dict()
        weights = checkpoint.get('state_dict', checkpoint)
        names = {key: re.sub(r'^module\.', '', key) for key, value in weights.items()
                 if isinstance(value, Tensor)}
        fitting = {key for key, name in names.items()
                   if name in wanted and wanted[name].shape == weights[key].shape}
        if not fitting:
            # detectron2 has its tensors under 'model'
            found = list(names.values()) or list(weights.get('model', []))
            raise UsageError(_nothing_fits(found, list(wanted)))
        reshaped = {key: f'{name} {list(weights[key].shape)}, here {list(wanted[name].shape)}'
                    for key, name in names.items() if name in wanted and key not in fitting}
        if reshaped and (runner._resume or not isinstance(runner._train_loop, BaseLoop)):
            raise UsageError(
                'the checkpoint is one of another model: '
                + _listed(list(reshaped.values()))
                + '; use the config that it was trained with')
        for key in reshaped:  # what is left is loaded by name
            del weights[key]
        missing = [name for name in wanted if name not in names.values()]
        unused = [name for name in names.values() if name not in wanted]
        lines = [f'{len(fitting)} of the model\'s {len(wanted)} tensors are in the checkpoint']
        for entries, what in ((list(reshaped.values()), 'of another shape, start anew'),
                              (missing, 'not in the checkpoint, start anew'),
                              (unused, 'only in the checkpoint, not used')):
            if entries:
                lines.append(f'{len(entries)} {what}: {_listed(entries)}')
        runner.logger.info('\n  '.join(lines))


def _listed(entries: list[str]) -> str:
    more = f' and {len(entries) - _NAMED} more' if len(entries) > _NAMED else ''
    return '; '.join(entries[:_NAMED]) + more


def _nothing_fits(found: list[str], wanted: list[str]) -> str:
    text = (f'no tensor of the checkpoint ({", ".join(found[:2]) or "empty"}, ...) fits the model '
            f'({", ".join(wanted[:2])}, ...)')
    try:
        source = find_source(found)
    except CheckpointError:
        return text
    return (f'{text}; it is one of {source.title}: convert it with '
            'tools/model_converters/convert.py')
