"""A config for the user's own data, small and with the reason of every choice in it."""
import os
from pathlib import Path

from mmpanseg.engine.command_line import UsageError
from mmpanseg.hub.config_text import config_text
from mmpanseg.hub.model_choice import SYSTEMS, choose_model
from mmpanseg.hub.own_data import NO_PATHS, TASKS, SplitPaths, read_data
from mmpanseg.hub.training_plan import make_plan
from mmpanseg.utils.atomic_files import write_file

__all__ = ['SYSTEMS', 'TASKS', 'SplitPaths', 'write_config']


def write_config(data: str | Path, out: str | Path | None = None, *, system: str | None = None,
                 backbone: str | None = None, base: str | Path | None = None,
                 task: str | None = None, batch_size: int | None = None, steps: int | None = None,
                 epochs: int | None = None, short_side: int | None = None,
                 train: SplitPaths = NO_PATHS, val: SplitPaths = NO_PATHS,
                 classes: str | Path | None = None, force: bool = False,
                 offline: bool = False) -> Path:
    """Write a config that trains a system of the library on data of the user.

    Args:
        data: folder with the layout that ``mmpanseg import`` writes: ``images/train``,
            ``panoptic_train.json`` with ``panoptic_train/``, ``instances_train.json``, or
            ``labels/train`` with ``classes.json``, and the same for val. With ``train`` and ``val``
            it is the folder that their paths are in.
        out: file to write; by default ``SYSTEM_BACKBONE_FOLDER-TASK.py`` in ``data``.
        system: one of :data:`SYSTEMS`; by default that of ``base``, else Mask2Former.
        backbone: e.g. ``'r50'``, ``'swin_t'``, or ``'r18'`` for a small model that trains on a CPU;
            by default that of ``base``, else ``'r50'``.
        base: published model (short name) or checkpoint to start from; by default the weights of
            the backbone, where there are some.
        task: one of :data:`TASKS`; by default the first one that the data has annotations of, but
            instance where a panoptic JSON has things only.
        batch_size: images per step and device; by default from the size of the crops.
        steps: length of the training; by default from the number of images.
        epochs: the same, in passes over the images.
        short_side: short side of test images in pixels; by default from the sizes of the images.
        train: paths of annotations and images, instead of those of the layout.
        val: the same for validation.
        classes: file of the names of label maps; by default ``classes.json``.
        force: overwrite ``out``.
        offline: use no network.

    Returns:
        path of the config.

    Raises:
        UsageError: there is no such data, no such model, or the file exists; in one line.
    """
    if task is not None and task not in TASKS:
        raise UsageError(f'--task {task}: there are {", ".join(TASKS)}')
    if steps is not None and epochs is not None:
        raise UsageError('--steps and --epochs exclude each other')
    facts = read_data(data, task, train, val, classes)
    choice = choose_model(facts.task, system, backbone, base, offline)
    if out is None:
        name = f'{choice.system}_{choice.backbone}_{facts.root.name}-{facts.task}.py'
        path = facts.root / name
    else:
        path = Path(out).expanduser()
    if path.suffix != '.py':
        raise UsageError(f'{path}: a config is a Python file, name it *.py')
    if path.exists() and not force:
        raise UsageError(f'{path} exists: name another file with --out, or overwrite it with '
                         '--force')
    text = config_text(facts, choice, make_plan(facts, choice, batch_size, steps, epochs,
                                                short_side), str(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f'{path.parent} cannot be made: {error.strerror}; name another file with '
                         '--out') from error
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f'{path.parent} is not writable: name another file with --out')
    write_file(path, text.encode())
    return path
