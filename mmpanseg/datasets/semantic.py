"""Datasets with an image of class labels for each image."""
import os.path as osp

import numpy as np
from mmengine import fileio

from mmpanseg.registry import DATASETS
from mmpanseg.structures.label_image import (IGNORE_INDEX, distinct_values, label_table,
                                              read_label_image)
from .base import SegmentationDataset


@DATASETS.register_module()
class SemanticDataset(SegmentationDataset):
    """Folders of images and of label maps with the same names (and the same subfolders).

    ``data_prefix=dict(img=..., seg=...)`` are the two folders; without ``seg`` there is no ground
    truth. The image ``{name}{img_suffix}`` has the label map ``{name}{seg_map_suffix}``.

    ``metainfo`` holds ``classes`` (by label), ``palette``, and how the label maps are coded:
    ``ignore_index``, the value of pixels that do not count (255 unless given), and optionally
    ``label_map``, a dict value in the file -> label or ``ignore_index``. Each sample has img_path,
    img_id (the name), seg_map_path, num_classes, label_map and ignore_index, for
    :class:`LoadSemanticMap`; :class:`mmpanseg.evaluation.SemanticMetric` reads the last two in
    label_coding.

    Args:
        img_suffix: end of the names of images.
        seg_map_suffix: end of the names of label maps.

    Raises:
        ValueError: when classes are missing, a folder has no image, or an image no label map.
    """

    METAINFO: dict = {}

    def __init__(self, *args, img_suffix: str = '.jpg', seg_map_suffix: str = '.png',
                 **kwargs) -> None:
        self.img_suffix = img_suffix
        super().__init__(*args, seg_map_suffix=seg_map_suffix, **kwargs)

    def load_data_list(self) -> list[dict]:
        meta = self._metainfo
        if not meta.get('classes'):
            raise ValueError(f'{type(self).__name__} needs metainfo=dict(classes=(...)), the names '
                             'of the labels 0, 1, ...')
        self._check_palette()
        meta.setdefault('ignore_index', IGNORE_INDEX)
        # mmdet's ConcatDataset wants the same keys of all its sources
        meta.setdefault('label_map', None)
        coding = {key: meta[key] for key in ('label_map', 'ignore_index')}
        self.shared.update(num_classes=len(meta['classes']), label_coding=coding, **coding)
        image_folder, map_folder = (self.data_prefix.get(key, '') for key in ('img', 'seg'))
        names = self._names(image_folder, self.img_suffix)
        if not names:
            raise ValueError(f'{image_folder} has no image *{self.img_suffix}; correct '
                             'data_root, data_prefix.img or img_suffix')
        if map_folder:
            absent = sorted(set(names) - set(self._names(map_folder, self.seg_map_suffix)))
            if absent:
                raise ValueError(
                    f'{osp.join(map_folder, absent[0] + self.seg_map_suffix)} does not exist: '
                    f'{len(absent)} of {len(names)} images in {image_folder} have no label map; '
                    'write or download them, or correct data_prefix.seg or seg_map_suffix')
        return [dict(
            img_path=osp.join(image_folder, name + self.img_suffix),
            img_id=name,
            seg_map_path=osp.join(map_folder, name + self.seg_map_suffix) if map_folder else None)
            for name in names]

    def filter_data(self) -> list[dict]:
        # what an image shows is known only once its label map is read
        return self.data_list

    def get_cat_ids(self, idx: int) -> list[int]:
        """Labels that occur in a sample; reads its label map."""
        info = self.get_data_info(idx)
        if info['seg_map_path'] is None:
            return []
        present = distinct_values(read_label_image(info['seg_map_path'], self.backend_args))
        table = label_table(present, info['num_classes'], info['seg_map_path'],
                            info['label_map'], info['ignore_index'])
        labels = np.unique(table[present])
        return labels[labels >= 0].tolist()

    def _names(self, folder: str, suffix: str) -> list[str]:
        """Sorted paths of the files in a folder and its subfolders, without the suffix."""
        # other storage than a disk may know no folders
        if self.backend_args is None and '://' not in folder and not osp.isdir(folder):
            raise ValueError(f'{folder}: no such folder; correct data_root or data_prefix')
        files = fileio.list_dir_or_file(folder, list_dir=False, suffix=suffix, recursive=True,
                                        backend_args=self.backend_args)
        return sorted(name[:-len(suffix)] for name in files)
