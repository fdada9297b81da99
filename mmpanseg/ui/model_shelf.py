"""The models of the page: one of them is loaded at a time."""
import gc
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mmpanseg.apis.predictor import Predictor, load
from mmpanseg.engine.command_line import UsageError, one_line
from mmpanseg.hub import list_models
from mmpanseg.hub.config_files import config_paths, find_configs
from mmpanseg.utils.atomic_files import readable_size


@dataclass(frozen=True)
class ModelChoice:
    """A model that the page offers.

    Attributes:
        name: of the choice, unique.
        title: what the page shows.
        model: what :func:`mmpanseg.load` gets.
        weights: path of the checkpoint, for a config.
    """
    name: str
    title: str
    model: str
    weights: str | None = None


class ModelShelf:
    """Loads the model that is asked for, and forgets the one before it.

    Args:
        choices: of the page.
        device: see :func:`mmpanseg.load`.
        offline: see :func:`mmpanseg.load`.
        options: further arguments of :func:`mmpanseg.load`.

    Attributes:
        choices: by name.
    """

    def __init__(self, choices: Sequence[ModelChoice], device: str | None = None,
                 offline: bool = False, options: Mapping[str, Any] | None = None) -> None:
        self.choices = {choice.name: choice for choice in choices}
        self._options = dict(options or {}, device=device, offline=offline)
        self._lock = threading.Lock()
        self._loaded: tuple[str, Predictor] | None = None

    def is_loaded(self, name: str) -> bool:
        """Whether a model can be used at once.

        Args:
            name: of a choice.
        """
        loaded = self._loaded
        return loaded is not None and loaded[0] == name

    def get(self, name: str) -> Predictor:
        """Return a model; it is loaded if it is not the last one.

        Args:
            name: of a choice.

        Raises:
            UsageError: there is no such choice, or the model cannot be loaded.
        """
        if name not in self.choices:
            raise UsageError(f'{name!r} is none of the models of this page')
        with self._lock:
            if self._loaded is not None and self._loaded[0] == name:
                return self._loaded[1]
            self._unload()
            choice = self.choices[name]
            try:
                predictor = load(choice.model, choice.weights, **self._options)
            except (TypeError, ValueError) as error:
                raise UsageError(one_line(error)) from error
            self._loaded = name, predictor
            return predictor

    def _unload(self) -> None:
        """Free the memory of the loaded model, before that of the next one is needed."""
        self._loaded = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def given_models(texts: Sequence[str]) -> list[ModelChoice]:
    """Read the models of the command line.

    Args:
        texts: names or paths, or CONFIG,WEIGHTS.

    Raises:
        UsageError: there is no such file or model.
    """
    choices: list[ModelChoice] = []
    for text in texts:
        model, _, weights = text.partition(',')
        for part in (model, weights):
            if part and not _is_known(part):
                raise UsageError(f'--model {part} is neither a file nor a model of the library: '
                                 '`mmpanseg models` lists those')
        path = Path(weights or model)
        # checkpoints of trainings have names such as iter_2000
        name = f'{path.absolute().parent.name}/{path.stem}' if path.is_file() else path.name
        if any(choice.name == name for choice in choices):
            name = f'{name} ({len(choices) + 1})'
        choices.append(ModelChoice(name, name, model, weights or None))
    return choices


def published_models(offline: bool) -> list[ModelChoice]:
    """List the published models whose weights can be had by their name.

    Args:
        offline: only those whose weights are in the cache.
    """
    allowed = ('cached', ) if offline else ('cached', 'yes')
    choices = []
    for info in list_models():
        if info.release is None or info.by_name not in allowed:
            continue
        size = info.release.size
        title = info.short_name
        if info.by_name != 'cached':
            title += f' (downloads {readable_size(size)})' if size else ' (is downloaded)'
        choices.append(ModelChoice(info.short_name, title, info.short_name))
    return choices


def _is_known(model: str) -> bool:
    """Whether a path exists, or a name is that of a model."""
    if '://' in model or Path(model).expanduser().exists():
        return True
    names = [*config_paths(find_configs()), *(info.short_name for info in list_models())]
    return any(name.startswith(model) for name in names if name)
