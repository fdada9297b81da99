"""Base class of all data sets: index maps, filters, errors that name the image, metainfo."""

from mmdet.datasets import BaseDetDataset
from mmengine.dataset import force_full_init

from mmpanseg.datasets.transforms.foreign_transforms import adapt_pipeline


class SegmentationDataset(BaseDetDataset):
    """Base class of data sets with one segmentation per image.

    Transforms of other packages in the pipeline are adapted to index maps, see
    :func:`mmpanseg.datasets.transforms.foreign_transforms.adapt_pipeline`.

    Attributes:
        shared: entries that belong to every sample, such as the coding of labels in the files.
            :meth:`load_data_list` fills them; they are stored once.

    Raises:
        ValueError: a transform cannot be applied to the ground truth, or does not follow it.
        RuntimeError: an image cannot be loaded or transformed; the text names its file.
    """

    METAINFO: dict = {}

    def __init__(self, *args, **kwargs) -> None:
        self.shared: dict = {}
        super().__init__(*args, **kwargs)
        adapt_pipeline(self.pipeline, self.pipeline)

    @force_full_init
    def get_data_info(self, idx: int) -> dict:
        return super().get_data_info(idx) | self.shared

    def filter_data(self) -> list[dict]:
        """Select the images for training by ``filter_cfg``: ``min_size``, ``filter_empty_gt``."""
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
        """Return whether an image shows a segment that is neither void nor a crowd."""
        return True

    def prepare_data(self, idx: int) -> dict | None:
        try:
            return super().prepare_data(idx)
        except Exception as error:
            # errors of image readers do not name the file
            info = self.get_data_info(idx)
            if info['img_path'] in str(error) or str(info.get('seg_map_path')) in str(error):
                raise
            raise RuntimeError(
                f'{info["img_path"]}: {type(error).__name__} while loading or transforming this '
                f'image: {error}') from error

    def _check_palette(self) -> None:
        """Raise a ValueError if the metainfo has a palette with another number of colors."""
        palette, classes = self._metainfo.get('palette'), self._metainfo['classes']
        if palette is not None and len(palette) != len(classes):
            raise ValueError(f'metainfo.palette has {len(palette)} colors for {len(classes)} '
                             'classes')

    @classmethod
    def _load_metainfo(cls, metainfo: dict | None = None) -> dict:
        """Merge the metainfo of the user with that of the class, as mmengine does.

        Class names of the user select and order the colors and category ids of the class, and
        replace all of its other lists of names.
        """
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
    """Return the class names by label."""
    if 'classes' in meta:
        return tuple(meta['classes'])
    return (*meta.get('thing_classes', ()), *meta.get('stuff_classes', ()))


def with_slashes(file_name: str) -> str:
    """Return a file name with slashes: annotation files of Windows have backslashes."""
    return file_name.replace('\\', '/')
