"""Data sets in COCO instance format, whose objects may overlap."""
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
    """Any data set in COCO instance format: a JSON with polygons or run lengths for each object.

    ``ann_file`` is the JSON, ``data_prefix=dict(img=...)`` the folder of images. ``metainfo``
    (``classes``, optionally ``palette``) selects and orders the JSON's categories by name; without
    it classes are the JSON's, in its order (then known only after ``full_init``). Objects of other
    categories are left out.

    Boxes come from the masks; ``bbox`` and ``area`` of the JSON may be absent or wrong. As in
    mmdet, objects narrower or lower than a pixel are left out, and crowds are ignored in training.

    ``filter_cfg`` applies to training: ``filter_empty_gt`` drops images without an object that
    counts, ``min_size`` drops images with a shorter side. ``test_mode`` keeps everything.

    Each sample has img_path, img_id, height, width, label2cat and instances, a list of dict(bbox,
    bbox_label, mask, ignore_flag, iscrowd) as :class:`LoadInstanceMasks` and mmdet's
    LoadAnnotations read it.

    Raises:
        ValueError: naming file and entry, when the JSON is broken or incomplete, names an unknown
            image or category, has an id or name twice, does not have a class of ``metainfo``, or
            has a mask that is none; when nothing is left to train on.
    """

    METAINFO: dict = {}

    def load_data_list(self) -> list[dict]:
        content = read_annotation_file(
            self.ann_file, ['images', 'categories'] + ['annotations'] * (not self.test_mode),
            'instance', self.backend_args)
        images = read_images(self.ann_file, content['images'])
        labels = self._labels_of_categories(content['categories'])
        annotations = content.get('annotations', [])
        categories = check_listed(self.ann_file, annotations, 'category_id', labels, 'categories')
        check_listed(self.ann_file, annotations, 'image_id', images, 'images')
        boxes = read_boxes(self.ann_file, annotations, images)
        # no pixel of them is sure to be drawn
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
        """Category id -> label, None where the metainfo does not select the category."""
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
    """Whether an object counts."""
    return any(not instance['ignore_flag'] for instance in instances)
