"""Records what the transforms of a pipeline did to a sample, without changing what they do."""
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from mmcv.transforms import BaseTransform


class Step(NamedTuple):
    """One call of a transform.

    Attributes:
        transform: the transform.
        depth: 0 in a pipeline, 1 in a transform that calls others, ...
        path: image of the sample.
        before: entries of the sample before the call, see :data:`WATCHED`.
        after: the same entries after it; None if the transform rejected the sample.
        drawn: method that draws random numbers -> what it returned.
        has_children: whether it called other transforms.
    """

    transform: BaseTransform
    depth: int
    path: str | None
    before: dict[str, Any]
    after: dict[str, Any] | None
    drawn: dict[str, Any]
    has_children: bool


# entries of a sample that describe geometric transforms
WATCHED = ('flip', 'flip_direction', 'scale_factor', 'homography_matrix')


class Recorder:
    """The calls of transforms while :meth:`active`, in the order in which they began."""

    def __init__(self) -> None:
        self._steps: list[Step | None] = []
        self._depth = 0

    @contextmanager
    def active(self) -> Iterator[None]:
        """Record within a ``with`` block; transforms are called by their base class."""
        original = BaseTransform.__call__

        def call(transform: BaseTransform, results: Any) -> Any:
            return self._call(original, transform, results)

        # setattr: a type checker refuses the assignment of a method
        setattr(BaseTransform, '__call__', call)  # noqa: B010
        try:
            yield
        finally:
            setattr(BaseTransform, '__call__', original)  # noqa: B010

    def steps(self, path: str | None) -> list[Step]:
        """Return the steps that led to a sample.

        Args:
            path: image of the sample. Steps of samples that were rejected before it are left out.
        """
        kept: list[Step] = []
        is_own = False
        for step in self._steps:
            if step is None:
                continue
            if step.depth == 0:
                is_own = step.path == path
                # a pipeline that rejected this sample ran once more
                first = next((number for number, other in enumerate(kept)
                              if other.depth == 0 and other.transform is step.transform), None)
                if is_own and first is not None:
                    del kept[first:]
            if is_own:
                kept.append(step)
        return kept

    def _call(self, original: Callable, transform: BaseTransform, results: Any) -> Any:
        if not isinstance(results, dict):
            return original(transform, results)
        number, before, path = len(self._steps), _watch(results), results.get('img_path')
        self._steps.append(None)
        self._depth += 1
        drawn: dict[str, Any] = {}
        try:
            with _logged_draws(transform, drawn):
                done = original(transform, results)
        finally:
            self._depth -= 1
        after = _watch(done) if isinstance(done, dict) else None
        self._steps[number] = Step(
            transform, self._depth, path or (done or {}).get('img_path'), before, after, drawn,
            len(self._steps) > number + 1)
        return done


def _watch(results: dict) -> dict[str, Any]:
    """Copy the entries that describe a sample, with the size (H, W) of its image."""
    seen = {key: results[key] for key in WATCHED if results.get(key) is not None}
    image = results.get('img')
    if isinstance(image, np.ndarray):
        seen['size'] = image.shape[:2]
    mixed = results.get('mix_results')
    if mixed:
        seen['mixed'] = [other.get('img_path') for other in mixed]
    return seen


@contextmanager
def _logged_draws(transform: BaseTransform, drawn: dict[str, Any]) -> Iterator[None]:
    """Keep what the methods return that mmcv's ``cache_randomness`` marks as random."""
    # the list may contain names of methods of other subclasses
    names = [name for name in getattr(transform, '_methods_with_randomness', ())
             if hasattr(transform, name) and name not in vars(transform)]
    for name in dict.fromkeys(names):
        setattr(transform, name, _logged(getattr(transform, name), name, drawn))
    try:
        yield
    finally:
        for name in dict.fromkeys(names):
            delattr(transform, name)


def _logged(method: Callable, name: str, drawn: dict[str, Any]) -> Callable:
    def call(*args: Any, **kwargs: Any) -> Any:
        drawn[name] = method(*args, **kwargs)
        return drawn[name]
    return call
