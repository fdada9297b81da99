"""What is known about the classes, where several data sets make one."""
from typing import Optional, Sequence, Union


def common_metainfo(metainfo: Union[dict, Sequence[dict], None]) -> Optional[dict]:
    """One metainfo for several sources: mmdet's ConcatDataset gives a list where they differ.

    They may differ in how their files number the classes, which every sample carries itself. The
    first one's colors count.

    Raises:
        ValueError: when the classes of two sources differ.
    """
    if metainfo is None or isinstance(metainfo, dict):
        return metainfo
    # a source may be concatenated itself
    first, *others = map(common_metainfo, metainfo)
    for number, other in enumerate(others, 1):
        for key in ('classes', 'thing_classes', 'stuff_classes'):
            ours, theirs = tuple(first.get(key, ())), tuple(other.get(key, ()))
            if ours != theirs:
                raise ValueError(
                    f'the data sets of a ConcatDataset must have the same {key}: number 0 has '
                    f'{ours}, number {number} has {theirs}; name them in the metainfo of each')
    return first


class CommonMetainfo:
    """For metrics and visualizers: ``dataset_meta`` is one dict also for concatenated data sets."""

    @property
    def dataset_meta(self) -> Optional[dict]:
        """Metainfo of the data set; in every process, as each draws its own images."""
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, metainfo: Union[dict, Sequence[dict], None]) -> None:
        self._dataset_meta = common_metainfo(metainfo)
