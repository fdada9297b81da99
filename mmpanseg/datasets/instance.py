"""Data sets in COCO instance format, where objects may overlap."""
import os.path as osp

from mmdet.datasets import CocoDataset

from mmpanseg.datasets.annotation_file import (
    check_classes,
    check_listed,
    read_annotation_file,
    read_categories,
    read_images,
)
from mmpanseg.datasets.base import SegmentationDataset, with_slashes
from mmpanseg.datasets.object_masks import read_boxes
from mmpanseg.registry import DATASETS


@DATASETS.register_module()
class InstanceDataset(SegmentationDataset):
    """Data set in COCO instance format: a JSON with polygons or run lengths of each object.

    Boxes are computed from the masks; ``bbox`` and ``area`` of the JSON may be absent or wrong. As
    in mmdet, objects narrower or lower than a pixel are omitted, and crowds are ignored in
    training.

    Each sample contains img_path, img_id, height, width, label2cat and instances, a list of
    dict(bbox, bbox_label, mask, ignore_flag, iscrowd) for :class:`LoadInstanceMasks` and mmdet's
    LoadAnnotations.

    Args:
        ann_file: path of the JSON.
        data_prefix: dict of the folder of images, ``img``.
        metainfo: ``classes``, which select and order the categories of the JSON by name, and
            optionally ``palette``, a color per class. Objects of other categories are omitted.
            Without classes all categories of the JSON, in its order, known only after
            ``full_init``.
        filter_cfg: filters in training: ``filter_empty_gt=True`` removes images without an object
            that is no crowd, ``min_size`` removes images with a shorter side in pixels.
        test_mode: no filters.

    Raises:
        ValueError: the JSON is broken or incomplete, refers to an unknown image or category,
            repeats an id or name, lacks a class of ``metainfo`` or contains an invalid mask (the
            text names file and entry); no image is left for training.
    """

    METAINFO: dict = {}

    def load_data_list(self) -> list[dict]:
        content = read_annotation_file(
            self.ann_file, ['images', 'categories'] + ['annotations'] * (not self.test_mode),
            'instance', self.backend_args)
        images = read_images(self.ann_file, content['images'])
        self.shared['ann_file'] = self.ann_file  # the loader of images compares the sizes
        labels = self._labels_of_categories(content['categories'])
        annotations = content.get('annotations', [])
        categories = check_listed(self.ann_file, annotations, 'category_id', labels, 'categories')
        check_listed(self.ann_file, annotations, 'image_id', images, 'images')
        boxes = read_boxes(self.ann_file, annotations, images)
        # smaller masks may not contain the center of any pixel
        large = ((boxes[:, 2:] - boxes[:, :2]) >= 1).all(1).tolist()

        instances: dict = {image_id: [] for image_id in images}
        for annotation, category, box, counts in zip(
                annotations, categories, boxes.tolist(), large):
            label = labels[category]
            if label is None or not counts or annotation.get('ignore', False):
                continue
            crowd = int(annotation.get('iscrowd', 0))
            instances[annotation['image_id']].append(dict(
                bbox=box, bbox_label=label, mask=annotation['segmentation'], ignore_flag=crowd,
                iscrowd=crowd))
        if annotations and not self.test_mode and not any(map(_counted, instances.values())):
            raise ValueError(
                f'{self.ann_file}: none of its {len(annotations)} annotations is an object to '
                f'train on; they must have the classes {list(self._metainfo["classes"])}, a pixel '
                'or more (coordinates are pixels, not shares of the image) and "iscrowd": 0')
        return [dict(
            img_path=osp.join(self.data_prefix.get('img', ''), with_slashes(image['file_name'])),
            img_id=image_id,
            height=image['height'],
            width=image['width'],
            instances=instances[image_id]) for image_id, image in images.items()]

    def has_ground_truth(self, info: dict) -> bool:
        return _counted(info['instances'])

    def _labels_of_categories(self, categories: list[dict]) -> dict:
        """Map category ids to labels, None for categories that the metainfo does not select."""
        names = read_categories(self.ann_file, categories)
        meta = self._metainfo
        meta['classes'] = tuple(meta.get('classes') or names.values())
        check_classes(self.ann_file, meta['classes'], names.values())
        self._check_palette()
        label_of = {name: label for label, name in enumerate(meta['classes'])}
        meta['label2cat'] = self.shared['label2cat'] = {
            label_of[name]: i for i, name in names.items() if name in label_of}
        return {i: label_of.get(name) for i, name in names.items()}


@DATASETS.register_module()
class CocoInstanceDataset(InstanceDataset):
    """COCO instances (Lin et al., "Microsoft COCO", ECCV 2014), 80 classes.

    Standard layout under ``data_root``: annotations/instances_{train,val}2017.json,
    {train,val}2017/*.jpg.
    """

    METAINFO = dict(classes=tuple(CocoDataset.METAINFO['classes']),
                    palette=CocoDataset.METAINFO['palette'])


def _counted(instances: list[dict]) -> bool:
    """Return whether one of the objects is no crowd."""
    return any(not instance['ignore_flag'] for instance in instances)
