"""Forward and backward pass of a training step that a file contains."""
import math
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from mmengine.model import revert_sync_batchnorm
from mmengine.runner.amp import autocast
from torch import Tensor

from mmpanseg.engine.anomaly import AnomalyDetection, AnomalyError
from mmpanseg.engine.batch_encoding import decode_batch
from mmpanseg.engine.gradient_parts import norms_by_part
from mmpanseg.engine.random_states import write_generators
from mmpanseg.engine.step_files import loss_terms
from mmpanseg.registry import MODELS


class Replay(NamedTuple):
    """Result of a step that runs again.

    Attributes:
        losses: terms by name.
        gradient_norms: norm of the gradients of each part, without a loss scale.
        first_module: first module whose output is not finite; '' for none.
        anomaly: operation and module whose backward pass returns NaN; '' without search or fault.
    """
    losses: dict[str, float]
    gradient_norms: dict[str, float]
    first_module: str
    anomaly: str


def replay_step(model_config: dict, content: dict[str, Any], device: str | None = None,
                detect_anomaly: bool = False) -> Replay:
    """Run a step again, from its weights, batch and states of the random generators.

    On the same kind of machine, with as many threads and without other processes, losses and
    gradients are equal to the last bit. Modules are searched in a second pass.

    Args:
        model_config: config of the model.
        content: entries of the file, see :func:`mmpanseg.engine.step_files.read_step`.
        device: to run on (default: the type of device of the training).
        detect_anomaly: search for the operation of the backward pass that returns NaN.

    Raises:
        RuntimeError: the weights do not fit the model; the text names them.
    """
    model = revert_sync_batchnorm(MODELS.build(model_config))
    model.refuses_non_finite = False  # they can be the cause
    model.load_state_dict(content['state_dict'])
    model = model.to(device or content['device']).train()
    threads = torch.get_num_threads()
    torch.set_num_threads(content.get('num_threads', threads))
    try:
        losses, norms = _run(model, content)
        model.zero_grad()
        model.load_state_dict(content['state_dict'])  # running statistics have changed
        detection, anomaly = AnomalyDetection(model), ''
        try:
            with torch.autograd.set_detect_anomaly(detect_anomaly), detection.named():
                _run(model, content, backward=detect_anomaly)
        except AnomalyError as error:
            anomaly = str(error)
        finally:
            detection.remove()
    finally:
        torch.set_num_threads(threads)
    return Replay(losses, norms, detection.first, anomaly)


def _run(model: Any, content: dict[str, Any],
         backward: bool = True) -> tuple[dict[str, float], dict[str, float]]:
    batch = decode_batch(content['batch'])
    write_generators(content['random_states'])
    kind = content['autocast']
    with autocast(dtype=getattr(torch, kind)) if kind else nullcontext():
        data = model.data_preprocessor(batch, True)
        losses = model(**data, mode='loss')
    total: Tensor = model.parse_losses(losses)[0]
    scale = float(content.get('loss_scale', 1.0))
    if backward:
        (total * scale).backward()
    return loss_terms(losses), norms_by_part(model, torch.tensor(scale))


def same_number(a: float, b: float) -> bool:
    """Compare two numbers; NaN equals NaN."""
    return a == b or math.isnan(a) and math.isnan(b)
