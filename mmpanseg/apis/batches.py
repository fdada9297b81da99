"""Batches of images with equal padded sizes, from a stream of images of any size."""
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Generic, TypeVar

from mmpanseg.apis.predictor_errors import FailedInput

Image = TypeVar('Image')
Result = TypeVar('Result')

# images that are read ahead to find some of equal size, as a multiple of the batch size
READ_AHEAD = 8


def equal_batches(images: Iterable[tuple[int, Image | FailedInput]], batch_size: int,
                  size_of: Callable[[Image], Hashable],
                  ) -> Iterator[list[tuple[int, Image]] | tuple[int, FailedInput]]:
    """Collect images of equal size to batches.

    An image waits for others of its size, but not longer than until ``READ_AHEAD * batch_size``
    further ones have been read.

    Args:
        images: images with their numbers, in order; failed inputs are passed on.
        batch_size: largest number of images in a batch.
        size_of: function of an image that returns its padded size.

    Yields:
        batches, in the order in which they are complete, and failed inputs.
    """
    waiting: dict[Hashable, list[tuple[int, Image]]] = {}
    for number, image in images:
        if isinstance(image, FailedInput):
            yield number, image
            continue
        size = size_of(image) if batch_size > 1 else ()
        group = waiting.setdefault(size, [])
        group.append((number, image))
        if len(group) == batch_size:
            yield waiting.pop(size)
        # groups are in the order of their first images
        while waiting:
            size, oldest = next(iter(waiting.items()))
            if number - oldest[0][0] < READ_AHEAD * batch_size:
                break
            yield waiting.pop(size)
    yield from waiting.values()


class InOrder(Generic[Result]):
    """Puts results that are computed in another order back into the order of their inputs."""

    def __init__(self) -> None:
        self._next = 0
        self._early: dict[int, Result] = {}

    def add(self, number: int, result: Result) -> Iterator[Result]:
        """Add a result, and yield those whose predecessors are all there.

        Args:
            number: number of the input, from 0 on.
            result: what belongs to it.
        """
        self._early[number] = result
        while self._next in self._early:
            self._next += 1
            yield self._early.pop(self._next - 1)
