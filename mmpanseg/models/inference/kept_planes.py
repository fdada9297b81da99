"""Full-size masks that are kept, for fusing the same predictions several times.

H, W result.
"""
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

# masks of a chunk; a processor keeps so many in its caches
_CHUNK = 8


class KeptPlanes:
    """Mask logits at the size of the result, resized once per query, as far as memory allows.

    Args:
        limit: bytes that the masks may occupy; the masks of further queries are resized each time.

    Attributes:
        nbytes: bytes that they occupy.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.nbytes = 0
        self._planes: dict[int, Tensor] = {}

    def chunks(self, queries: Tensor, resize: Callable[[Tensor], Tensor]) -> Iterator[Tensor]:
        """Yield logits [m, H, W] of the queries in order, m of them at a time.

        Args:
            queries: int64 [n].
            resize: function of queries [m] that returns their logits [m, H, W].
        """
        for part in queries.split(_CHUNK):
            numbers = part.tolist()
            missing = [number for number in numbers if number not in self._planes]
            if len(missing) == len(numbers):
                logits = resize(part)
                self._keep(numbers, logits)
                yield logits
                continue
            if missing:
                resized = resize(torch.tensor(missing, device=part.device))
                self._keep(missing, resized)
                fresh = dict(zip(missing, resized))
            else:
                fresh = {}
            yield torch.stack([self._planes[number] if number in self._planes else fresh[number]
                               for number in numbers])

    def _keep(self, numbers: list[int], logits: Tensor) -> None:
        for number, plane in zip(numbers, logits):
            if self.nbytes + plane.nbytes > self.limit:
                return
            # a copy: rules may change what they get
            self._planes[number] = plane.clone()
            self.nbytes += plane.nbytes
