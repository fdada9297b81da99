"""COCO instance annotations as run-length encoded objects of each image."""
from typing import Optional, Sequence

import mmengine.fileio as fileio
from pycocotools import mask as rle_tools

from .ground_truth import require_keys, sample_name
from .panoptic_quality import PanopticDataError


class InstanceAnnotations:
    """A COCO instance JSON, read once.

    Args:
        ann_file: path of the JSON, with ``images``, ``categories`` and ``annotations``.
        backend_args: arguments of mmengine's file backend.

    Raises:
        FileNotFoundError: when the file does not exist.
        ValueError: when it is no JSON, lacks one of these keys, or an annotation is for an image or
            a category that it does not list.
    """

    def __init__(self, ann_file: str, backend_args: Optional[dict] = None) -> None:
        self.ann_file = ann_file
        content = self._read(backend_args)
        self.images = {image['id']: image for image in content['images']}
        self.category_names = {item['id']: item['name'] for item in content['categories']}
        self.annotations: dict = {image_id: [] for image_id in self.images}
        for annotation in content['annotations']:
            for key, known, where in (('image_id', self.images, 'images'),
                                      ('category_id', self.category_names, 'categories')):
                if annotation[key] not in known:
                    raise ValueError(f'{ann_file}: annotation {annotation.get("id")} has {key} '
                                     f'{annotation[key]!r}, which "{where}" does not list')
            self.annotations[annotation['image_id']].append(annotation)

    def objects(self, sample: dict, classes: Sequence[str],
                labels: Sequence[int]) -> tuple[tuple[int, int], list[dict]]:
        """Objects of a sample's image.

        Args:
            sample: with ``img_id``.
            classes: names by label.
            labels: those to look for; objects of other classes are left out.

        Returns:
            (H, W), and for each object a dict of category_id (the label), segmentation (run-length
            encoding), iscrowd and, where the file has it, area.

        Raises:
            ValueError: when the file has no category of one of the classes, or an annotation has
                no usable segmentation.
            PanopticDataError: when the file does not list the image.
        """
        require_keys(sample, ('img_id', ))
        known = set(self.category_names.values())
        absent = [classes[label] for label in labels if classes[label] not in known]
        if absent:
            raise ValueError(f'{self.ann_file} has no category {absent}, which are classes of '
                             f'the data set; its categories are {sorted(known)}')
        image = self.images.get(sample['img_id'])
        if image is None:
            raise PanopticDataError(
                f'{sample_name(sample)} is not among the "images" of {self.ann_file}; give the '
                'instance annotations of this data set, with the same image ids, or leave ann_file '
                'out to score against the panoptic annotation')
        label_of = {classes[label]: label for label in labels}
        size = image['height'], image['width']
        objects = []
        for annotation in self.annotations[image['id']]:
            label = label_of.get(self.category_names[annotation['category_id']])
            if label is not None:
                item = dict(category_id=label, segmentation=self._encode(annotation, size),
                            iscrowd=int(annotation.get('iscrowd', 0)))
                if 'area' in annotation:
                    # COCO's, which decide about sizes, are not the masks' but the polygons'
                    item['area'] = annotation['area']
                objects.append(item)
        return size, objects

    def _read(self, backend_args: Optional[dict]) -> dict:
        try:
            content = fileio.load(self.ann_file, file_format='json', backend_args=backend_args)
        except FileNotFoundError as error:
            raise FileNotFoundError(f'instance annotations {self.ann_file} do not exist; correct '
                                    'ann_file of the metric') from error
        except ValueError as error:
            raise ValueError(f'{self.ann_file} is not valid JSON: {error}') from error
        for key in ('images', 'categories', 'annotations'):
            if not isinstance(content, dict) or key not in content:
                raise ValueError(f'{self.ann_file} has no "{key}": not a COCO instance JSON')
        return content

    def _encode(self, annotation: dict, size: tuple[int, int]) -> dict:
        segmentation = annotation.get('segmentation')
        if not segmentation:
            raise ValueError(f'{self.ann_file}: annotation {annotation.get("id")} has no '
                             'segmentation; mask AP needs polygons or run-length encodings')
        if isinstance(segmentation, list):
            return rle_tools.merge(rle_tools.frPyObjects(segmentation, *size))
        if tuple(segmentation['size']) != size:
            raise ValueError(
                f'{self.ann_file}: the mask of annotation {annotation.get("id")} has (height, '
                f'width) {tuple(segmentation["size"])}, its image {size}')
        if isinstance(segmentation['counts'], list):
            return rle_tools.frPyObjects(segmentation, *size)
        return segmentation
