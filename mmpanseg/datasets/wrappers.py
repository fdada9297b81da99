"""Wrappers of data sets that can be nested: which classes a sample shows, one metainfo."""
import bisect
from collections.abc import Sequence

import mmdet.datasets
import mmengine.dataset
from mmdet.registry import DATASETS as MMDET_DATASETS
from mmengine.dataset import force_full_init

from mmpanseg.datasets.metainfo import common_metainfo


@MMDET_DATASETS.register_module(force=True)
class ConcatDataset(mmdet.datasets.ConcatDataset):
    """Replacement of mmdet's class inside of ``ClassBalancedDataset`` and of another one.

    mmdet's fails there: it has no ``get_cat_ids``, and a list as metainfo where the category ids of
    its data sets differ. Arguments are those of mmdet's class.

    Raises:
        ValueError: the classes of the data sets inside of an inner one differ.
    """

    def __init__(self, datasets: Sequence, *args, **kwargs) -> None:
        built = [MMDET_DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
                 for dataset in datasets]
        for dataset in built:
            if isinstance(dataset.metainfo, list):
                dataset._metainfo = common_metainfo(dataset.metainfo)
        super().__init__([_AsBuilt(dataset) for dataset in built], *args, **kwargs)

    @force_full_init
    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the labels in a sample."""
        source = bisect.bisect_right(self.cumulative_sizes, idx)
        start = self.cumulative_sizes[source - 1] if source else 0
        return self.datasets[source].get_cat_ids(idx - start)


class _AsBuilt(dict):
    """Config of a built data set: mmdet's class only takes base data sets that are built."""

    def __init__(self, dataset: mmengine.dataset.BaseDataset) -> None:
        super().__init__(type=lambda: dataset)


@MMDET_DATASETS.register_module()
class RepeatDataset(mmengine.dataset.RepeatDataset):
    """mmengine's class, also inside of ``ClassBalancedDataset``. Arguments are mmengine's."""

    @force_full_init
    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the labels in a sample."""
        return self.dataset.get_cat_ids(self._get_ori_dataset_idx(idx))
