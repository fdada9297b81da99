"""What a report is made of: predictions for the images of a data set."""
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from mmpanseg.report.prediction import Prediction


class Failure(NamedTuple):
    """An image without a prediction.

    Attributes:
        text: why, one line.
    """

    text: str


# number of an image; prediction and sample with the outputs for metrics, or why there is none
Answer = tuple[int, tuple[Prediction, dict] | Failure]


class Source(Protocol):
    """Gives predictions.

    Attributes:
        notes: sentences that a reader of the report must know.
        knows_queries: whether predictions tell why segments are missed.
    """

    notes: list[str]
    knows_queries: bool

    def answers(self, dataset: Any, numbers: Sequence[int]) -> Iterator[Answer]:
        """Yield the predictions for some images, in their order."""
