"""Conversion of the ground truth of mmdet's samples to segments. Shapes: H, W image size."""
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import PixelData

from mmpanseg.structures.encoded_masks import encode_mask, encode_masks, segments_from_rles
from mmpanseg.structures.label_image import IGNORE_INDEX
from mmpanseg.structures.segment_map import VOID, SegmentMap


def segments_from_sample(sample: DetDataSample, num_things_classes: int,
                         num_classes: int) -> SegmentMap:
    """Convert the ground truth of a sample from mmdet's ``PackDetInputs``.

    The segments are the things of ``gt_instances`` in their order, followed by one stuff segment
    for each label in ``gt_sem_seg`` from ``num_things_classes`` on, in ascending order. Labels of
    things in ``gt_sem_seg`` are ignored, because crowds are labeled there too.

    Args:
        sample: with ``gt_instances`` (masks and labels), ``gt_sem_seg`` (sem_seg [1, H, W]), or
            both.
        num_things_classes: labels below are things.
        num_classes: number of classes. Other values than labels must be the ``ignore_index`` of
            ``gt_sem_seg``, by default 255.

    Raises:
        ValueError: the sample has no ground truth, things without masks, stuff without a label map,
            or unknown labels; the text names the image.
    """
    image = sample.get('img_path', 'an image')
    instances, sem_seg = sample.get('gt_instances'), sample.get('gt_sem_seg')
    masks = None if instances is None else instances.get('masks')
    if masks is None and sem_seg is None:
        raise ValueError(
            f'no gt_segments for {image}: the training pipeline must load annotations '
            '(mmpanseg.LoadPanopticMap) before mmpanseg.PackPanopticInputs')
    if masks is None and num_things_classes:
        raise ValueError(
            f'{image}: its sample has no masks in gt_instances for the model\'s '
            f'{num_things_classes} thing classes; load them (LoadPanopticAnnotations with '
            'with_mask=True, or mmpanseg.LoadPanopticMap and mmpanseg.PackPanopticInputs)')
    if sem_seg is None and num_classes > num_things_classes:
        raise ValueError(
            f'{image}: its sample has no gt_sem_seg for the model\'s '
            f'{num_classes - num_things_classes} stuff classes; load it (LoadPanopticAnnotations '
            'with with_seg=True, or mmpanseg.LoadPanopticMap and mmpanseg.PackPanopticInputs)')
    labels: list[int] = []
    encoded: list[dict] = []
    shape = (0, 0)
    if masks is not None:
        labels, shape = instances.labels.tolist(), (masks.height, masks.width)
        if len(labels) != len(masks) or not all(0 <= k < num_things_classes for k in labels):
            raise ValueError(f'{image}: gt_instances has {len(masks)} masks with the labels '
                             f'{labels}; labels of things are 0 .. {num_things_classes - 1}')
        encoded = encode_masks(masks)
    if sem_seg is not None:
        values = sem_seg.sem_seg.squeeze(0).cpu()
        present = _present(sem_seg, values, num_classes, image)
        stuff = [label for label in present if label >= num_things_classes]
        labels, shape = labels + stuff, (values.shape[0], values.shape[1])
        encoded += [encode_mask((values == label).numpy()) for label in stuff]
    return segments_from_rles(torch.tensor(labels, dtype=torch.int64), encoded, shape)


def _present(sem_seg: PixelData, values: torch.Tensor, num_classes: int, image: str) -> list[int]:
    """Find the labels of a label map, in ascending order."""
    ignore_index = sem_seg.metainfo.get('ignore_index', IGNORE_INDEX)
    if ignore_index == VOID:
        # the value that this library's loading transforms write
        raise ValueError(
            f'{image}: PackDetInputs packed a map of segments as a label map; after '
            'mmpanseg.LoadPanopticMap or mmpanseg.LoadSemanticMap use mmpanseg.PackPanopticInputs')
    if num_classes > ignore_index:
        raise ValueError(
            f'{image}: {ignore_index} means no label in gt_sem_seg, but is also a label of the '
            f'model\'s {num_classes} classes; load with mmpanseg.LoadPanopticMap and '
            'mmpanseg.PackPanopticInputs')
    present = [label for label in values.unique().tolist() if label != ignore_index]
    if present and not 0 <= present[0] <= present[-1] < num_classes:
        raise ValueError(
            f'{image}: gt_sem_seg has the values {present[0]} .. {present[-1]}; labels are 0 .. '
            f'{num_classes - 1} and {ignore_index}, no label')
    return present
