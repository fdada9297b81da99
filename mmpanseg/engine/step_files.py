"""Files of single training steps: batch, weights before the step, states of the generators."""
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from mmpanseg.checkpoints.sources import CheckpointError
from mmpanseg.checkpoints.weight_files import read_checkpoint
from mmpanseg.checkpoints.writing import write_checkpoint
from mmpanseg.engine.batch_encoding import encode_batch
from mmpanseg.engine.random_states import read_generators
from mmpanseg.utils.modules import unwrap_model

FORMAT = 'mmpanseg training step'
_KEYS = ('step', 'batch', 'state_dict', 'random_states', 'losses', 'autocast', 'device')


class StepState(NamedTuple):
    """What a step starts from, as far as the step itself changes it.

    Attributes:
        batch: content of the batch as the data loader returns it.
        random_states: see :func:`mmpanseg.engine.random_states.read_generators`.
        buffers: copies of the model's buffers, in their order.
    """
    batch: Any
    random_states: dict[str, Any]
    buffers: list[torch.Tensor]


class BufferCopies:
    """Copies of a model's buffers, such as the running statistics of batch norms.

    Args:
        model: the model; its buffers must stay the same tensors.
    """

    def __init__(self, model: nn.Module) -> None:
        self.buffers = [buffer for buffer in model.buffers() if buffer.numel()]
        self.copies = [buffer.detach().clone() for buffer in self.buffers]

    def take(self) -> list[torch.Tensor]:
        """Copy the current values, without a wait for the device."""
        if self.buffers:
            torch._foreach_copy_(self.copies, [buffer.detach() for buffer in self.buffers])
        return self.copies

    def restore(self) -> None:
        """Set the buffers to the copied values."""
        if self.buffers:
            torch._foreach_copy_([buffer.detach() for buffer in self.buffers], self.copies)


def start_of_step(batch: Any, buffers: BufferCopies) -> StepState:
    """Keep what the forward pass of a step is about to change.

    Args:
        batch: as the data loader returns it; only a reference is kept.
        buffers: of the model.
    """
    return StepState(batch, read_generators(), buffers.take())


def write_step(path: Path, state: StepState, model: nn.Module, **entries: Any) -> None:
    """Write a step to a file that ``tools/analysis_tools/replay_batch.py`` runs again.

    The file contains tensors and plain containers only. It takes its place when it is complete.

    Args:
        path: of the file.
        state: from before the step; the model's buffers have these values again.
        model: the model, also a wrapped one, with the weights before the step.
        entries: further entries of the file.

    Raises:
        OSError: the file cannot be written; nothing is left of it.
    """
    weights = {name: tensor.detach().cpu()
               for name, tensor in unwrap_model(model).state_dict().items()}
    content = dict(format=FORMAT, batch=encode_batch(state.batch), state_dict=weights,
                   random_states=state.random_states, num_threads=torch.get_num_threads(),
                   **encode_batch(entries))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_checkpoint(content, path)


def read_step(path: str | Path) -> dict[str, Any]:
    """Read the file of a step with the restricted reader of weights.

    Args:
        path: of the file.

    Returns:
        Its entries; the batch still encoded.

    Raises:
        CheckpointError: the file is missing or is no file of a step; the text names it.
    """
    content = read_checkpoint(path)
    if content.get('format') != FORMAT or any(key not in content for key in _KEYS):
        raise CheckpointError(f'{path} is not the file of a training step '
                              '(non_finite_step_N.pth) that a stopped training writes')
    return content


def image_names(batch: Any) -> list[str]:
    """List the image files of a batch, as its data samples name them."""
    samples = batch.get('data_samples', ()) if isinstance(batch, dict) else ()
    names = [sample.metainfo.get('img_path') for sample in samples if hasattr(sample, 'metainfo')]
    return [str(name) for name in names if name]


def loss_terms(losses: dict[str, Any]) -> dict[str, float]:
    """Read the losses of a step.

    Args:
        losses: tensors, or lists of tensors that are summed up, by name.

    Returns:
        name -> value.
    """
    terms = {}
    for name, value in losses.items():
        parts = value if isinstance(value, (list, tuple)) else [value]
        if parts and all(isinstance(part, torch.Tensor) for part in parts):
            terms[name] = sum(float(part.detach().float().mean()) for part in parts)
    return terms
