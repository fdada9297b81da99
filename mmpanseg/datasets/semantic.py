"""Data sets with an image of class labels per image."""
import logging
import os.path as osp

import numpy as np
from mmengine import fileio
from mmengine.logging import print_log

from mmpanseg.datasets.base import SegmentationDataset
from mmpanseg.datasets.transforms import LoadSemanticMap
from mmpanseg.registry import DATASETS
from mmpanseg.structures.image_file import IMAGE_SUFFIXES
from mmpanseg.structures.label_image import (
    IGNORE_INDEX,
    distinct_values,
    label_table,
    read_label_image,
)

# number of label maps that the check for binary masks reads
NUM_CHECKED_MAPS = 50


@DATASETS.register_module()
class SemanticDataset(SegmentationDataset):
    """Data set of folders of images and of label maps with the same names and subfolders.

    The image ``{name}{img_suffix}`` has the label map ``{name}{seg_map_suffix}``; the case of
    endings is ignored.

    Each sample contains img_path, img_id (the name), seg_map_path, num_classes, label_map and
    ignore_index, for :class:`LoadSemanticMap`, and label_coding, a dict of the last two for
    :class:`mmpanseg.evaluation.SemanticMetric`.

    Args:
        data_prefix: dict of the folders of images, ``img``, and of label maps, ``seg``; without
            ``seg`` there is no ground truth.
        metainfo: ``classes`` by label, ``palette``, ``ignore_index``, the value of ignored pixels
            (default 255), and optionally ``label_map``, a dict from values in the files to labels
            or ``ignore_index``.
        img_suffix: ending of the names of images; None: any ending of image files.
        seg_map_suffix: ending of the names of label maps.

    Raises:
        ValueError: no classes are given, a folder contains no image, an image has no label map,
            two images share a name, or label maps seem to be binary masks whose 255 is ignored.
    """

    METAINFO: dict = {}

    def __init__(self, *args, img_suffix: str | None = None,
                 seg_map_suffix: str = '.png', **kwargs) -> None:
        self.img_suffix = img_suffix
        super().__init__(*args, seg_map_suffix=seg_map_suffix, **kwargs)

    def load_data_list(self) -> list[dict]:
        meta = self._metainfo
        if not meta.get('classes'):
            raise ValueError(f'{type(self).__name__} needs metainfo=dict(classes=(...)), the names '
                             'of the labels 0, 1, ...')
        self._check_palette()
        meta.setdefault('ignore_index', IGNORE_INDEX)
        # mmdet's ConcatDataset requires the same keys in the metainfo of all data sets
        meta.setdefault('label_map', None)
        coding = {key: meta[key] for key in ('label_map', 'ignore_index')}
        self.shared.update(num_classes=len(meta['classes']), label_coding=coding, **coding)
        image_folder, map_folder = (self.data_prefix.get(key, '') for key in ('img', 'seg'))
        together = map_folder and osp.normpath(map_folder) == osp.normpath(image_folder)
        images, others = self._files(image_folder, self.img_suffix,
                                     self.seg_map_suffix if together else None)
        maps: dict[str, str] = {}
        maps_without_image: list[str] = []
        if map_folder:
            maps, _ = self._files(map_folder, self.seg_map_suffix)
            maps_without_image = [file for name, file in maps.items() if name not in images]
        if not images:
            raise ValueError(
                f'{image_folder} has no image *{self.img_suffix or ""}{_some(others, " (only ")}; '
                'correct data_root, data_prefix.img or img_suffix')
        absent = sorted(set(images) - set(maps)) if map_folder else ()
        if absent:
            raise ValueError(
                f'{osp.join(map_folder, absent[0] + self.seg_map_suffix)} does not exist: '
                f'{len(absent)} of {len(images)} images in {image_folder} have no label map; '
                'write or download them, or correct data_prefix.seg or seg_map_suffix')
        for folder, omitted, why in (
                (image_folder, others, f'images do not end in {self.img_suffix}'),
                (map_folder, maps_without_image, 'label maps belong to no image')):
            if omitted:
                print_log(f'{folder}: {len(omitted)} {why} and are left out'
                          f'{_some(omitted, " (")}', logger='current', level=logging.WARNING)
        data_list = [dict(
            img_path=osp.join(image_folder, images[name]),
            img_id=name,
            seg_map_path=osp.join(map_folder, maps[name]) if map_folder else None)
            for name in sorted(images)]
        if map_folder:
            self._check_binary_masks(data_list)
        return data_list

    def filter_data(self) -> list[dict]:
        # the segments of an image are known only after its label map is read
        return self.data_list

    def get_cat_ids(self, idx: int) -> list[int]:
        """Read the label map of a sample and return the labels in it."""
        info = self.get_data_info(idx)
        if info['seg_map_path'] is None:
            return []
        present = distinct_values(read_label_image(info['seg_map_path'], self.backend_args))
        table = label_table(present, info['num_classes'], info['seg_map_path'],
                            info['label_map'], info['ignore_index'])
        labels = np.unique(table[present])
        return labels[labels >= 0].tolist()

    def _check_binary_masks(self, data_list: list[dict]) -> None:
        """Raise a ValueError for masks of 0 and 255 whose 255 is ignored: one class remains."""
        meta, ignored = self._metainfo, self._metainfo['ignore_index']
        known = set(meta.get('label_map') or ())
        steps = [step for step in self.pipeline.transforms if isinstance(step, LoadSemanticMap)]
        if len(meta['classes']) > 2 or ignored in known or any(
                step.label_map or step.ignore_index is not None or step.reduce_zero_label
                for step in steps):
            return
        checked = data_list[::max(1, len(data_list) // NUM_CHECKED_MAPS)]
        seen: set[int] = set()
        for info in checked:
            seen |= set(distinct_values(
                read_label_image(info['seg_map_path'], self.backend_args)).tolist())
            if not seen <= {0, ignored}:
                return
        if ignored in seen:
            raise ValueError(
                f'{self.data_prefix["seg"]}: the label maps have the values 0 and {ignored} only '
                f'({len(checked)} checked), and {ignored} is ignored: a single class would '
                f'remain. Binary masks need metainfo=dict(label_map={{0: 0, {ignored}: 1}}) (with '
                f'a single class {{0: {ignored}, {ignored}: 0}}); if {ignored} does mark ignored '
                f'pixels, set label_map={{0: 0, {ignored}: {ignored}}}')

    def _files(self, folder: str, suffix: str | None,
               not_suffix: str | None = None) -> tuple[dict[str, str], list[str]]:
        """List the files in a folder and its subfolders.

        Args:
            folder: the folder.
            suffix: ending of the names; None: any ending of image files.
            not_suffix: ending of other files in the same folder, which are skipped; None: none.

        Returns:
            files by name without suffix, and the images with other suffixes.
        """
        # other storage than a file system may have no folders
        if self.backend_args is None and '://' not in folder and not osp.isdir(folder):
            raise ValueError(f'{folder}: no such folder; correct data_root or data_prefix')
        files = sorted(fileio.list_dir_or_file(folder, list_dir=False, recursive=True,
                                               backend_args=self.backend_args))
        if not_suffix is not None and suffix != not_suffix:
            files = [file for file in files if not _ends(file, not_suffix)]
        images = [file for file in files if _ends(file, *IMAGE_SUFFIXES)]
        chosen = images if suffix is None else [file for file in files if _ends(file, suffix)]
        named: dict[str, str] = {}
        for file in chosen:
            name = osp.splitext(file)[0] if suffix is None else file[:-len(suffix)]
            if name in named:
                raise ValueError(f'{folder} has {named[name]} and {file}, which have one name '
                                 'without their endings: rename one of them, or choose the ending '
                                 '(img_suffix, seg_map_suffix)')
            named[name] = file
        return named, sorted(set(images) - set(chosen))


def _ends(name: str, *suffixes: str) -> bool:
    return name.lower().endswith(tuple(suffix.lower() for suffix in suffixes))


def _some(names: list[str], opening: str) -> str:
    """Return some of the names in brackets; '' for no names."""
    return f'{opening}{", ".join(names[:5])}{", ..." if len(names) > 5 else ""})' if names else ''
