"""Loading of semantic ground truth as an index map.

H, W: height and width of the image; N: number of classes in it.
"""

import numpy as np
from mmcv.transforms import BaseTransform

from mmpanseg.datasets.transforms.image_and_map import add_map, check_orientation_known
from mmpanseg.registry import TRANSFORMS
from mmpanseg.structures import VOID
from mmpanseg.structures.exif_orientation import orient_annotation
from mmpanseg.structures.label_image import (
    IGNORE_INDEX,
    distinct_values,
    label_table,
    read_label_image,
)


@TRANSFORMS.register_module()
class LoadSemanticMap(BaseTransform):
    """Load an image of class labels as an index map with one segment per class.

    Reads ``seg_map_path``, an image of one channel with 8 or 16 bits or a palette, and the coding
    of its values by :class:`mmpanseg.datasets.SemanticDataset`: ``num_classes``, ``label_map`` and
    ``ignore_index``. Adds ``gt_seg_map``, int32 [H, W], the index of the segment of each pixel,
    -1 = void, and ``gt_segment_labels``, int64 [N], in ascending order. The map is turned as the
    image was, see :func:`mmpanseg.structures.exif_orientation.annotation_orientation`.

    Samples without ``seg_map_path`` (plain images at inference) are not changed. A
    ``seg_map_path`` of None means that the image has no ground truth: all pixels are void.

    Args:
        label_map: dict from values in the file to labels or ``ignore_index``; other values are not
            changed. None: that of the data set.
        ignore_index: value of ignored pixels. None: that of the data set, or 255.
        reduce_zero_label: value 0 is ignored and any other value is a label + 1; applied before
            ``label_map``.
        backend_args: arguments of mmengine's file backend; None for the file system.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file cannot be decoded, has several channels, another size than the image,
            or a value that is no label.
    """

    def __init__(self,
                 label_map: dict[int, int] | None = None,
                 ignore_index: int | None = None,
                 reduce_zero_label: bool = False,
                 backend_args: dict | None = None) -> None:
        self.label_map = label_map
        self.ignore_index = ignore_index
        self.reduce_zero_label = reduce_zero_label
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        if 'seg_map_path' not in results:
            return results
        path, shape = results['seg_map_path'], tuple(results['ori_shape'])
        if path is None:
            add_map(results, np.full(shape, VOID, np.int32), ())
            return results
        check_orientation_known(results, self.backend_args)
        values = orient_annotation(read_label_image(path, self.backend_args), results)
        # a test pipeline resizes the image first; evaluation is at the original size
        if values.shape != shape:
            raise ValueError(
                f'{path} is {values.shape[1]}x{values.shape[0]}, its image '
                f'{results["img_path"]} is {shape[1]}x{shape[0]}: both must have the same size')
        present = distinct_values(values)
        table = label_table(
            present, results['num_classes'], path,
            self.label_map or results.get('label_map'),
            results.get('ignore_index', IGNORE_INDEX) if self.ignore_index is None
            else self.ignore_index,
            self.reduce_zero_label)
        labels = np.unique(table[present])
        labels = labels[labels >= 0]
        index = np.where(table < 0, VOID, np.searchsorted(labels, table)).astype(np.int32)
        add_map(results, index[values], labels)
        return results

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(label_map={self.label_map}, '
                f'ignore_index={self.ignore_index}, reduce_zero_label={self.reduce_zero_label}, '
                f'backend_args={self.backend_args})')
