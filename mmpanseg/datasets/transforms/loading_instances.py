"""Loading of instance ground truth, where objects may overlap."""
import numpy as np
from mmdet.structures.mask import PolygonMasks

from mmpanseg.datasets.object_masks import encode_annotation, outline
from mmpanseg.datasets.transforms.loading_images import LoadAnnotations
from mmpanseg.registry import TRANSFORMS
from mmpanseg.structures.encoded_masks import EncodedMasks


@TRANSFORMS.register_module()
class LoadInstanceMasks(LoadAnnotations):
    """Load boxes, labels and masks of :class:`mmpanseg.datasets.InstanceDataset`, none dense.

    As mmdet's ``LoadAnnotations(with_bbox=True, with_mask=True, poly2mask=False)``, but run lengths
    are supported too: the masks of an image with run lengths are
    :class:`mmpanseg.structures.encoded_masks.EncodedMasks`, others mmdet's ``PolygonMasks``.
    Samples without ``instances`` (plain images at inference) are not changed.

    Raises:
        ValueError: the image has another size than in the annotation file.
    """

    def __init__(self) -> None:
        super().__init__(with_bbox=True, with_mask=True, poly2mask=False)

    def transform(self, results: dict) -> dict:
        return super().transform(results) if 'instances' in results else results

    def _load_masks(self, results: dict) -> None:
        height, width = results['ori_shape']
        if (height, width) != (results['height'], results['width']):
            raise ValueError(
                f'{results["img_path"]} is {width}x{height}, the annotation file says '
                f'{results["width"]}x{results["height"]}: correct width and height of image '
                f'{results["img_id"]}, or use the image that was annotated')
        masks: list[list[np.ndarray] | dict] = []
        for instance in results['instances']:
            if instance['ignore_flag']:
                # removed when packed; transforms require one mask per box
                masks.append([np.zeros(6)])
            elif isinstance(instance['mask'], dict):
                masks.append(encode_annotation(
                    dict(segmentation=instance['mask']), height, width))
            else:
                masks.append(outline(instance['mask']))
        kind = EncodedMasks if any(isinstance(mask, dict) for mask in masks) else PolygonMasks
        results['gt_masks'] = kind(masks, height, width)

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'
