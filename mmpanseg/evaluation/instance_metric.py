"""Mask AP and Boundary AP as mmengine metrics. Shapes: H, W image size, n predicted instances."""
import contextlib
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.logging import MMLogger
from pycocotools import mask as rle_tools
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmpanseg.evaluation.boundary import (
    PUBLISHED_WIDTH,
    boundary_distance,
    check_boundary_width,
    mask_boundary,
)
from mmpanseg.evaluation.ground_truth import read_ground_truth, with_image_orientation
from mmpanseg.evaluation.instance_annotations import InstanceAnnotations
from mmpanseg.evaluation.metric_base import DatasetMetric, make_table, percent, sample_name
from mmpanseg.evaluation.panoptic_quality import PanopticDataError, index_map
from mmpanseg.registry import METRICS
from mmpanseg.structures.encoded_masks import encode_mask
from mmpanseg.structures.exif_orientation import (
    annotation_orientation,
    apply_orientation,
    oriented_size,
)

# bool [H, W], or compressed RLE
Mask = np.ndarray | dict

# name -> IoU threshold (None: mean over all) and index of the area range in COCOeval
AVERAGES = {'AP': (None, 0), 'AP50': (0.5, 0), 'AP75': (0.75, 0),
            'APs': (None, 1), 'APm': (None, 2), 'APl': (None, 3)}


@METRICS.register_module()
class InstanceMetric(DatasetMetric):
    """Mask AP of ``pred_instances`` in percent, for instance and panoptic models.

    ``pred_instances`` contains masks (bool [n, H, W], or n RLE), scores [n] and labels [n]. AP,
    AP50, AP75 and APs, APm, APl (objects below 32**2, below 96**2 pixels, larger) follow COCO's
    evaluation with at most 100 instances per image. For a panoptic model, AP is AP_pan^Th (Cheng et
    al., "Masked-attention Mask Transformer", CVPR 2022, Table I). A score is -1 if no annotated
    object has that size. The scored classes are ``thing_classes`` of the dataset's metainfo, or all
    ``classes`` without that entry; only predicted images are scored.

    Attributes:
        class_ap: label -> AP in 0 .. 1 of the last evaluation; -1 without annotated objects.

    Args:
        ann_file: COCO instance annotations. Categories are matched to classes by name, images by
            ``img_id``; categories that are no class of the dataset are ignored. None: the ground
            truth is the thing segments of the panoptic annotation (``seg_map_path`` and
            ``segments_info``), including crowds; images without annotation are skipped.
        classwise: print one row per class.
        backend_args: arguments of mmengine's file backend for the annotations.
        collect_device: device on which mmengine's BaseMetric collects results, ``'cpu'`` or
            ``'gpu'``.
        prefix: prefix of the score names; by default ``instance``.
        collect_dir: folder for the collection of results on the CPU, shared by all processes.

    Raises:
        FileNotFoundError: the annotation file or a PNG does not exist.
        ValueError: the annotation file or a PNG is damaged or lacks a class.
        PanopticDataError: an image is not in ``ann_file``; a prediction has the wrong size, a label
            that is no thing or a score that is not finite; or no image has a ground truth.
    """

    default_prefix = 'instance'
    title = 'Mask AP'
    evaluation_type = COCOeval

    def __init__(self,
                 ann_file: str | None = None,
                 classwise: bool = True,
                 backend_args: dict | None = None,
                 collect_device: str = 'cpu',
                 prefix: str | None = None,
                 collect_dir: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        self.classwise = classwise
        self.backend_args = backend_args
        self.class_ap: dict[int, float] = {}
        self.annotations = None if ann_file is None else InstanceAnnotations(ann_file, backend_args)

    @property
    def thing_labels(self) -> list[int]:
        """Labels of the scored classes."""
        classes = self.metainfo['classes']
        things = set(self.metainfo.get('thing_classes', classes))
        return [label for label, name in enumerate(classes) if name in things]

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        """Append (size, true objects, predicted objects) or None of each sample to ``results``."""
        for sample in data_samples:
            truth = (self._panoptic_objects(sample) if self.annotations is None
                     else self._annotated_objects(sample))
            if truth is None:
                self.results.append(None)
            else:
                self.results.append((*truth, self._predicted_objects(sample, truth[0])))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Print the table and return the averages in percent."""
        scored = [result for result in results if result is not None]
        if not scored:
            raise PanopticDataError(
                'no image of the dataset has a ground truth, so there is nothing to score '
                'against; check seg_map_path of the dataset, or set ann_file')
        labels = self.thing_labels
        evaluation = self._evaluate(scored, labels)
        scores = {name: _average(evaluation, *where) for name, where in AVERAGES.items()}
        rows = [['class', *AVERAGES]]
        self.class_ap = {label: _average(evaluation, None, 0, index)
                         for index, label in enumerate(labels)}
        if self.classwise:
            for index, label in enumerate(labels):
                values = [_average(evaluation, *where, index) for where in AVERAGES.values()]
                rows.append([self.metainfo['classes'][label],
                             *(percent(value, value >= 0) for value in values)])
        rows.append(['mean', *(percent(value, value >= 0) for value in scores.values())])
        MMLogger.get_current_instance().info(
            f'{self.title} of {len(scored)} images\n{make_table(rows)}')
        return {name: 100 * value if value >= 0 else -1. for name, value in scores.items()}

    def _object(self, mask: Mask, **item: object) -> dict:
        """Create an object in the format of ``evaluation_type``."""
        rle = mask if isinstance(mask, dict) else encode_mask(mask)
        return dict(dict(area=int(rle_tools.area(rle)), iscrowd=0), segmentation=rle, **item)

    def _evaluate(self, scored: list[tuple], labels: list[int]) -> COCOeval:
        """Run COCO's evaluation with image ids counted from 0 and labels as category ids."""
        categories = [dict(id=label) for label in labels]
        images = [dict(id=number, height=size[0], width=size[1])
                  for number, (size, _, _) in enumerate(scored)]
        sides = []
        for side in (1, 2):
            coco = COCO()
            # ids start at 1: COCOeval interprets id 0 as no match
            objects = [dict(item, image_id=number) for number, result in enumerate(scored)
                       for item in result[side]]
            coco.dataset = dict(images=images, categories=categories, annotations=[
                dict(item, id=number) for number, item in enumerate(objects, 1)])
            sides.append(coco)
        with contextlib.redirect_stdout(io.StringIO()):
            for coco in sides:
                coco.createIndex()
            evaluation = self.evaluation_type(*sides, 'segm')
            evaluation.evaluate()
            evaluation.accumulate()
        return evaluation

    def _annotated_objects(self, sample: dict) -> tuple[tuple[int, int], list[dict]]:
        """Read the objects in ``ann_file``, in the orientation of the model's input.

        Returns:
            size (H, W) of the image, and its objects.
        """
        assert self.annotations is not None
        size, objects = self.annotations.objects(
            sample, self.metainfo['classes'], self.thing_labels)
        orientation = annotation_orientation(size, with_image_orientation(sample))
        if orientation != 1:
            size = oriented_size(size, orientation)
            for item in objects:
                mask = rle_tools.decode(item['segmentation']).view(bool)
                item['segmentation'] = encode_mask(apply_orientation(mask, orientation))
        return size, [self._object(item.pop('segmentation'), **item) for item in objects]

    def _panoptic_objects(self, sample: dict) -> tuple[tuple[int, int], list[dict]] | None:
        """Read the thing segments of the panoptic annotation.

        Returns:
            size (H, W) of the image and its objects; None where it has no annotation.
        """
        segments = read_ground_truth(sample, self.metainfo, self.backend_args)
        if segments is None:
            return None
        index, things = index_map(segments, sample_name(sample)), set(self.thing_labels)
        objects = [self._object(index == position, category_id=label, iscrowd=int(crowd))
                   for position, (label, crowd)
                   in enumerate(zip(segments.labels.tolist(), segments.crowd.tolist()), 1)
                   if label in things]
        return (index.shape[0], index.shape[1]), objects

    def _predicted_objects(self, sample: dict, size: tuple[int, int]) -> list[dict]:
        image = sample_name(sample)
        if 'pred_instances' not in sample:
            raise PanopticDataError(f'{image}: the model returned no pred_instances; set '
                                    'instance_on=True in its test_cfg')
        pred = sample['pred_instances']
        labels = pred['labels'].tolist()
        unknown = sorted(set(labels) - set(self.thing_labels))
        if unknown:
            raise PanopticDataError(
                f'{image}: predicted instances have the label(s) {unknown}, which are no things '
                f'among the {len(self.metainfo["classes"])} classes of the dataset; set '
                'num_things_classes of the model to that of the dataset')
        not_finite = [score for score in pred['scores'].tolist() if not math.isfinite(score)]
        if not_finite:
            raise PanopticDataError(
                f'{image}: {len(not_finite)} of {len(labels)} predicted instances have the score '
                f'{not_finite[0]} and cannot be ranked; check the weights and the image for values '
                'that are not finite')
        masks = pred['masks']
        if isinstance(masks, torch.Tensor):
            masks = masks.cpu().numpy().astype(bool, copy=False)
        objects = []
        for mask, label, score in zip(masks, labels, pred['scores'].tolist()):
            shape = tuple(mask['size'] if isinstance(mask, dict) else mask.shape)
            if shape != size:
                raise PanopticDataError(
                    f'{image}: the predicted masks have {shape[1]}x{shape[0]} pixels, but the '
                    f'ground truth has {size[1]}x{size[0]} (width x height); predict at the size '
                    'of the original image')
            objects.append(self._object(mask, category_id=label, score=score))
        return objects


class BoundaryEvaluation(COCOeval):
    """COCO's evaluation with the minimum of mask IoU and boundary IoU.

    Every object needs the RLE of its ``boundary``. Crowds are compared by mask IoU only, because
    their boundary is not that of single instances.
    """

    def computeIoU(self, image_id: int, category_id: int) -> list | np.ndarray:
        iou = super().computeIoU(image_id, category_id)
        true, predicted = self._gts[image_id, category_id], self._dts[image_id, category_id]
        if not true or not predicted:
            return iou
        order = np.argsort([-item['score'] for item in predicted], kind='mergesort')
        boundary_iou = rle_tools.iou([predicted[at]['boundary'] for at in order[:len(iou)]],
                                     [item['boundary'] for item in true], [0] * len(true))
        crowd = np.array([bool(item['iscrowd']) for item in true])
        return np.where(crowd, iou, np.minimum(iou, boundary_iou))


@METRICS.register_module()
class BoundaryAPMetric(InstanceMetric):
    """Boundary AP of ``pred_instances`` in percent (Cheng et al., "Boundary IoU", CVPR 2021).

    The IoU of two objects is the minimum of their mask IoU and the IoU of their boundaries. Score
    names and further arguments are those of :class:`InstanceMetric`.

    Args:
        *args: positional arguments of :class:`InstanceMetric`.
        boundary_width: width of the boundary relative to the image diagonal, in 0 .. 1.
        **kwargs: keyword arguments of :class:`InstanceMetric`.
    """

    default_prefix = 'boundary'
    title = 'Boundary AP'
    evaluation_type = BoundaryEvaluation

    def __init__(self, *args: Any, boundary_width: float = PUBLISHED_WIDTH,
                 **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        check_boundary_width(boundary_width)
        self.boundary_width = boundary_width

    def _object(self, mask: Mask, **item: object) -> dict:
        item = super()._object(mask, **item)
        dense = rle_tools.decode(mask).view(bool) if isinstance(mask, dict) else mask
        distance = boundary_distance((dense.shape[0], dense.shape[1]), self.boundary_width)
        item['boundary'] = encode_mask(mask_boundary(dense, distance))
        return item


def _average(evaluation: COCOeval, threshold: float | None, area: int,
             category: int | slice = slice(None)) -> float:
    """Average the precision over all recall values.

    Args:
        evaluation: after ``accumulate``.
        threshold: IoU threshold; None averages over all thresholds.
        area: index of the area range.
        category: index of a category; the mean over all by default.

    Returns:
        average precision in 0 .. 1, -1 without annotated objects.
    """
    # [IoU threshold, recall, category, area range, number of detections]
    precision = evaluation.eval['precision'][..., area, -1]
    if threshold is not None:
        precision = precision[np.isclose(evaluation.params.iouThrs, threshold)]
    precision = precision[:, :, category]
    defined = precision[precision > -1]
    return float(defined.mean()) if defined.size else -1.
