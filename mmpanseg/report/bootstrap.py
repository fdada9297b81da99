"""How much of a difference of two PQs is due to the choice of images: the paired bootstrap.

Images are drawn with replacement, as many as there are, and the PQ of both models is computed on
the same draw from the sums of its images, exactly as for the whole set. The spread of the
differences over many draws shows what other images of the same kind could have given (Efron and
Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13: percentile intervals). It says
nothing about other trainings of the same model.

Shapes: N images, C classes, R draws.
"""
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

# draws that are computed at a time; N x this numbers are in memory
_CHUNK = 64
LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """PQ of two models and the interval of its difference.

    Args:
        a: PQ of the first model, 0..1.
        b: PQ of the second model, 0..1.
        difference: a - b.
        low: lower end of the 95% interval of the difference.
        high: upper end.
        better: share of draws in which the first model is better; draws without a difference count
            half.
    """
    a: float
    b: float
    difference: float
    low: float
    high: float
    better: float


class ImageSums:
    """Sums of every image, from which the PQ of any selection is computed.

    Args:
        num_classes: C.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.num_images = 0
        self._cells: list[tuple[int, int, float]] = []
        self._matrix: csr_matrix | None = None

    def add(self, rows: Sequence[Sequence[float]]) -> None:
        """Add an image.

        Args:
            rows: (label, sum of IoU, tp, fp, fn) of each class with a count.
        """
        for label, iou, tp, fp, fn in rows:
            column = int(label)
            self._cells.append((self.num_images, column, iou))
            self._cells.append((self.num_images, self.num_classes + column,
                                tp + 0.5 * fp + 0.5 * fn))
        self.num_images += 1
        self._matrix = None

    def qualities(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute the PQ of each class on weighted images.

        Args:
            weights: how often each image occurs in each draw, float64 [N, R].

        Returns:
            PQ, float64 [R, C], 0 for classes that do not occur, and bool [R, C], whether they do.
        """
        if self._matrix is None:
            cells = np.array(self._cells, np.float64).reshape(-1, 3)
            self._matrix = csr_matrix(
                (cells[:, 2], (cells[:, 1].astype(np.int64), cells[:, 0].astype(np.int64))),
                shape=(2 * self.num_classes, self.num_images))
        totals = self._matrix @ weights
        iou, size = totals[:self.num_classes].T, totals[self.num_classes:].T
        occurs = size > 0
        return np.divide(iou, size, out=np.zeros(iou.shape), where=occurs), occurs


def draw_images(number: int, samples: int, seed: int) -> Iterator[np.ndarray]:
    """Draw images with replacement.

    Args:
        number: N.
        samples: R.
        seed: of the draws.

    Yields:
        how often each image occurs, float64 [N, r] of some draws at a time.
    """
    generator = np.random.default_rng(seed)
    for start in range(0, samples, _CHUNK):
        yield np.stack([
            np.bincount(generator.integers(0, number, number), minlength=number)
            for _ in range(min(_CHUNK, samples - start))], axis=1).astype(np.float64)


def compare_sums(a: ImageSums, b: ImageSums, groups: Mapping[str, np.ndarray], samples: int,
                 seed: int) -> tuple[dict[str, Difference], list[Difference | None]]:
    """Compute the differences of PQ and their intervals.

    The averages of a draw are over the classes that occur in it, for each model, as
    :meth:`mmpanseg.evaluation.PQStat.average` defines them. The interval of a class is over the
    draws in which it occurs for both models.

    Args:
        a: sums of the first model.
        b: sums of the second model, of the same images in the same order.
        groups: name -> bool [C], classes to average.
        samples: R, at least 1.
        seed: of the draws.

    Returns:
        difference of each group, and of each class; None for classes that do not occur for both
        models.

    Raises:
        ValueError: there is no image, or the numbers of images or classes differ.
    """
    if (a.num_images, a.num_classes) != (b.num_images, b.num_classes) or not a.num_images:
        raise ValueError(f'the two models have {a.num_images} and {b.num_images} images, '
                         f'{a.num_classes} and {b.num_classes} classes; both must have the same '
                         'images, at least one')
    whole = np.ones((a.num_images, 1))
    (pq_a, occurs_a), (pq_b, occurs_b) = a.qualities(whole), b.qualities(whole)
    of_groups: dict[str, list[np.ndarray]] = {name: [] for name in groups}
    of_classes = []
    for weights in draw_images(a.num_images, samples, seed):
        (drawn_a, in_a), (drawn_b, in_b) = a.qualities(weights), b.qualities(weights)
        for name, classes in groups.items():
            of_groups[name].append(_mean(drawn_a, in_a & classes) - _mean(drawn_b, in_b & classes))
        of_classes.append(np.where(in_a & in_b, drawn_a - drawn_b, np.nan))
    by_class = np.concatenate(of_classes)
    return (
        {name: _difference(float(_mean(pq_a, occurs_a & classes)[0]),
                           float(_mean(pq_b, occurs_b & classes)[0]),
                           np.concatenate(of_groups[name]))
         for name, classes in groups.items()},
        [_difference(float(pq_a[0, label]), float(pq_b[0, label]), by_class[:, label])
         if occurs_a[0, label] and occurs_b[0, label] else None
         for label in range(a.num_classes)])


def _mean(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Mean over the chosen classes of each draw, 0 without any; float64 [R]."""
    return np.where(where, values, 0).sum(1) / np.maximum(where.sum(1), 1)


def _difference(a: float, b: float, draws: np.ndarray) -> Difference:
    draws = draws[~np.isnan(draws)]
    if not draws.size:  # of a rare class, in no draw
        draws = np.array([a - b])
    # differences of equal sums may differ in their last digits
    draws = np.where(np.abs(draws) < 1e-12, 0, draws)
    low, high = np.quantile(draws, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    better = (draws > 0).mean() + 0.5 * (draws == 0).mean()
    return Difference(a, b, a - b, float(low), float(high), float(better))
