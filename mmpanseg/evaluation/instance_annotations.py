"""COCO instance annotations as objects with run-length encodings (RLE)."""
from collections.abc import Sequence

from mmpanseg.datasets.annotation_file import (
    check_classes,
    check_listed,
    read_annotation_file,
    read_categories,
    read_sizes,
)
from mmpanseg.datasets.object_masks import encode_annotation, read_boxes
from mmpanseg.evaluation.metric_base import require_keys, sample_name
from mmpanseg.evaluation.panoptic_quality import PanopticDataError


class InstanceAnnotations:
    """Content of a COCO instance JSON, grouped by image.

    Args:
        ann_file: path of the JSON, with ``images``, ``categories`` and ``annotations``.
        backend_args: arguments of mmengine's file backend.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is not JSON, lacks one of these keys or repeats an id; an annotation
            refers to an unlisted image or category or has no valid mask; or all annotations are
            crowds.
    """

    def __init__(self, ann_file: str, backend_args: dict | None = None) -> None:
        self.ann_file = ann_file
        content = self._read(backend_args)
        self.images = read_sizes(ann_file, content['images'])
        self.category_names = read_categories(ann_file, content['categories'])
        annotations = content['annotations']
        check_listed(ann_file, annotations, 'category_id', self.category_names, 'categories')
        check_listed(ann_file, annotations, 'image_id', self.images, 'images')
        read_boxes(ann_file, annotations, self.images)
        self.annotations: dict[int, list[dict]] = {image_id: [] for image_id in self.images}
        for annotation in annotations:
            self.annotations[annotation['image_id']].append(annotation)

    def objects(self, sample: dict, classes: Sequence[str],
                labels: Sequence[int]) -> tuple[tuple[int, int], list[dict]]:
        """List the annotated objects of the image of a sample.

        Args:
            sample: with ``img_id``.
            classes: class names by label.
            labels: labels to select; objects of other classes are ignored.

        Returns:
            size (H, W) of the image, and a dict for each object with category_id (the label),
            segmentation (RLE), iscrowd and, if the file specifies a positive one, area.

        Raises:
            ValueError: the file lacks the category of a class.
            PanopticDataError: the file does not list the image.
        """
        require_keys(sample, ('img_id', ))
        check_classes(self.ann_file, [classes[label] for label in labels],
                      self.category_names.values())
        image = self.images.get(sample['img_id'])
        if image is None:
            raise PanopticDataError(
                f'{sample_name(sample)} is not among the "images" of {self.ann_file}; set ann_file '
                'to the instance annotations of this dataset, with the same image ids, or remove '
                'it to score against the panoptic annotation')
        label_of = {classes[label]: label for label in labels}
        size = image['height'], image['width']
        objects = []
        for annotation in self.annotations[image['id']]:
            label = label_of.get(self.category_names[annotation['category_id']])
            if label is not None:
                item = dict(category_id=label, segmentation=encode_annotation(annotation, *size),
                            iscrowd=int(annotation.get('iscrowd', 0)))
                area = annotation.get('area')
                if isinstance(area, (int, float)) and area > 0:
                    # COCO assigns sizes by the areas of polygons, which differ from the masks'
                    item['area'] = area
                objects.append(item)
        return size, objects

    def _read(self, backend_args: dict | None) -> dict:
        try:
            return read_annotation_file(self.ann_file, ('images', 'categories', 'annotations'),
                                        'instance', backend_args)
        except FileNotFoundError as error:
            raise FileNotFoundError(f'instance annotations {self.ann_file} do not exist; correct '
                                    'ann_file of the metric') from error
