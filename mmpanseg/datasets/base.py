"""What the datasets of this library have in common."""

from mmdet.datasets import BaseDetDataset
from mmengine.dataset import force_full_init

from mmpanseg.datasets.transforms.foreign_transforms import carry_map, loads_index_map


class SegmentationDataset(BaseDetDataset):
    """Images with a segmentation each; errors name the image.

    ``shared``, a dict that :meth:`load_data_list` may fill, belongs to every sample: how the files
    of this data set code labels. It is stored once.

    Transforms of the pipeline carry the index map along, with a void border, see
    :func:`mmpanseg.datasets.transforms.foreign_transforms.carry_map`; one that cannot
    is an error here.
    """

    METAINFO: dict = {}

    def __init__(self, *args, **kwargs) -> None:
        self.shared: dict = {}
        super().__init__(*args, **kwargs)
        if loads_index_map(self.pipeline):
            carry_map(self.pipeline)

    @force_full_init
    def get_data_info(self, idx: int) -> dict:
        return super().get_data_info(idx) | self.shared

    def filter_data(self) -> list[dict]:
        """Images to train on, by ``filter_cfg``: ``min_size`` and ``filter_empty_gt``."""
        if self.test_mode:
            return self.data_list
        config = self.filter_cfg or {}
        min_size = config.get('min_size', 0)
        kept = [info for info in self.data_list if min(info['width'], info['height']) >= min_size]
        if config.get('filter_empty_gt', False):
            kept = [info for info in kept if self.has_ground_truth(info)]
        if not kept:
            raise ValueError(
                f'{self.ann_file}: no image to train on, {len(self.data_list)} images listed and '
                f'none left with filter_cfg={self.filter_cfg}')
        return kept

    def has_ground_truth(self, info: dict) -> bool:
        """Whether an image has anything that counts: not void, no crowd."""
        return True

    def prepare_data(self, idx: int) -> dict | None:
        try:
            return super().prepare_data(idx)
        except Exception as error:
            # image readers do not say which file they failed on
            info = self.get_data_info(idx)
            if info['img_path'] in str(error) or str(info.get('seg_map_path')) in str(error):
                raise
            raise RuntimeError(
                f'{info["img_path"]}: {type(error).__name__} while loading or transforming this '
                f'image: {error}') from error

    def _check_palette(self) -> None:
        """Raise a ValueError unless the metainfo has a color for each class, or none at all."""
        palette, classes = self._metainfo.get('palette'), self._metainfo['classes']
        if palette is not None and len(palette) != len(classes):
            raise ValueError(f'metainfo.palette has {len(palette)} colors for {len(classes)} '
                             'classes')

    @classmethod
    def _load_metainfo(cls, metainfo: dict | None = None) -> dict:
        """mmengine's, where names that the user gives replace what belongs to the class's names."""
        meta = super()._load_metainfo(metainfo)
        given = set(metainfo or ())
        if not given & {'classes', 'thing_classes', 'stuff_classes'}:
            return meta
        for key in {'classes', 'thing_classes', 'stuff_classes'} - given:
            meta.pop(key, None)
        names, own = _names(meta), {name: label for label, name in enumerate(_names(cls.METAINFO))}
        if 'palette' in cls.METAINFO and 'palette' not in given:
            colors = meta.pop('palette')
            if all(name in own for name in names):
                meta['palette'] = [colors[own[name]] for name in names]
        if 'label2cat' in cls.METAINFO and 'label2cat' not in given:
            ids = meta['label2cat']
            meta['label2cat'] = {
                label: ids[own[name]] for label, name in enumerate(names) if name in own}
        return meta


def _names(meta: dict) -> tuple[str, ...]:
    """Names by label."""
    if 'classes' in meta:
        return tuple(meta['classes'])
    return (*meta.get('thing_classes', ()), *meta.get('stuff_classes', ()))


def with_slashes(file_name: str) -> str:
    """A file name of an annotation file, which may have been written on another system."""
    return file_name.replace('\\', '/')
