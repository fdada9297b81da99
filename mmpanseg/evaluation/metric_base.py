"""Shared parts of the metrics: dataset metainfo, required keys of samples, tables of scores."""
from collections.abc import Sequence

from mmengine.evaluator import BaseMetric

from mmpanseg.datasets.metainfo import CommonMetainfo
from mmpanseg.evaluation.panoptic_quality import PanopticDataError


class DatasetMetric(CommonMetainfo, BaseMetric):
    """Base of the metrics that need the metainfo of the dataset."""

    @property
    def metainfo(self) -> dict:
        """Metainfo of the dataset, which the evaluator sets as ``dataset_meta``.

        Raises:
            PanopticDataError: it is not set.
        """
        if self.dataset_meta is None:
            raise PanopticDataError(
                f'{type(self).__name__} has no metainfo of the dataset: set its dataset_meta, or '
                'run it in an evaluator')
        return self.dataset_meta


def sample_name(sample: dict) -> str:
    """Name a sample in error texts by its image id and image path."""
    return f'image {sample.get("img_id")} ({sample.get("img_path")})'


def require_keys(sample: dict, keys: tuple[str, ...]) -> None:
    """Check that the metainfo of a sample contains keys.

    Args:
        sample: as the evaluator passes it to a metric.
        keys: names that must exist.

    Raises:
        PanopticDataError: a key is missing.
    """
    for key in keys:
        if key not in sample:
            raise PanopticDataError(
                f'{sample_name(sample)}: the sample has no {key} in its metainfo; the test '
                f'pipeline must end with mmpanseg.PackPanopticInputs, with {key} among its '
                'meta_keys')


def percent(value: float, defined: bool = True) -> str:
    """Format a score.

    Args:
        value: score in 0 .. 1.
        defined: False prints ``-``.

    Returns:
        the score in percent with one decimal.
    """
    return f'{100 * value:.1f}' if defined else '-'


def make_table(rows: Sequence[Sequence[object]], left: int = 1) -> str:
    """Format rows as a text table.

    Args:
        rows: cells of each row; the first row holds the headings.
        left: number of columns that are aligned left. The others are aligned right.
    """
    from terminaltables import AsciiTable  # slow to import

    table = AsciiTable([[str(cell) for cell in row] for row in rows])
    table.justify_columns = {column: 'right' for column in range(left, len(rows[0]))}
    return table.table
