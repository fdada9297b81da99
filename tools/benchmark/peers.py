"""The same Mask2Former twice, mmdet's and ours, with one set of weights and the same inputs.

Shared by the benchmarks that compare the two.
"""
from dataclasses import dataclass

import numpy as np
import torch
from mmdet.registry import MODELS as MMDET_MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.hub import get_config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData, PixelData
from torch import Tensor, nn

from mmpanseg.registry import MODELS
from mmpanseg.structures import SegmentMap
from mmpanseg.structures.mask_logits import ProductMaskLogits

THINGS, CLASSES = 80, 133
CHANNELS = (256, 512, 1024, 2048)
MMDET_CONFIG = 'mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py'
OUR_CONFIG = 'configs/mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py'


@dataclass
class Pair:
    """Both models; ``mmdet`` and ``ours`` have the same weights."""
    mmdet: nn.Module
    ours: nn.Module

    def items(self):
        return (('mmdet', self.mmdet), ('ours', self.ours))


def build_pair(device: str = 'cpu') -> Pair:
    """Models of the published R50 configuration, initialized once and copied."""
    from mmengine.config import Config
    MMLogger.get_instance('benchmark', log_level='WARNING')  # how each parameter starts
    init_default_scope('mmdet')
    theirs = get_config(MMDET_CONFIG).model
    ours = Config.fromfile(OUR_CONFIG).model
    for config in (theirs, ours):
        config.backbone.init_cfg = None
    torch.manual_seed(0)
    # mmdet's thresholds are what its config says, ours the published ones: the same for both
    theirs.test_cfg.update(panoptic_on=True, instance_on=False, semantic_on=False,
                           object_mask_thr=0.8, iou_thr=0.8, filter_low_score=True)
    ours.panoptic_fusion_head.update(object_mask_thr=0.8, iou_thr=0.8)
    ours.test_cfg = dict(panoptic_on=True)
    pair = Pair(MMDET_MODELS.build(theirs), MODELS.build(ours))
    pair.ours.init_weights()
    pair.mmdet.load_state_dict(pair.ours.state_dict(), strict=True)
    for _, model in pair.items():
        model.to(device)
    return pair


def make_features(batch: int, size: tuple[int, int], device: str = 'cpu') -> list[Tensor]:
    """Random backbone maps at strides 4 .. 32 for images of ``size``."""
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(batch, c, -(-size[0] >> i), -(-size[1] >> i), generator=generator)
            .relu_().to(device) for i, c in enumerate(CHANNELS, 2)]


def region_masks(size: tuple[int, int], device: str = 'cpu') -> ProductMaskLogits:
    """Masks [h, w] of 100 queries that are regions; those of untrained queries are all alike."""
    generator = torch.Generator().manual_seed(2)
    coarse = torch.randn(1, 256, 9, 12, generator=generator)
    embeds = torch.randn(1, 1, 100, 256, generator=generator)
    return ProductMaskLogits(
        embeds.to(device), torch.nn.functional.interpolate(coarse.to(device), size) / 4)


def region_map(size: tuple[int, int], segments: int, seed: int) -> Tensor:
    """int64 [H, W]: every pixel belongs to the nearest of random centers."""
    generator = torch.Generator().manual_seed(seed)
    centers = torch.rand(segments, 2, generator=generator) * torch.tensor(size)
    rows, columns = (torch.arange(length).float() for length in size)
    nearest = torch.full(size, float('inf'))
    index = torch.zeros(size, dtype=torch.long)
    for k, (y, x) in enumerate(centers.tolist()):
        distance = (rows - y).square()[:, None] + (columns - x).square()
        closer = distance < nearest
        nearest[closer], index[closer] = distance[closer], k
    return index


def make_samples(size: tuple[int, int], segments: list[int], device: str = 'cpu') -> dict:
    """One ground truth in the form that each side's packing step gives.

    Returns:
        'mmdet' and 'ours': a list of data samples each. mmdet has a mask for every thing and a
        label map for stuff.
    """
    samples = dict(mmdet=[], ours=[])
    meta = dict(batch_input_shape=size, img_shape=size, ori_shape=size, scale_factor=(1., 1.))
    for seed, count in enumerate(segments):
        index = region_map(size, count, seed)
        generator = torch.Generator().manual_seed(seed)
        # stuff classes occur once each, as in an annotation
        stuff = torch.randperm(CLASSES - THINGS, generator=generator)[:min(count // 2, 20)] + THINGS
        labels = torch.cat([torch.randint(
            THINGS, (count - len(stuff), ), generator=generator), stuff])
        samples['ours'].append(DetDataSample(
            metainfo=meta, gt_segments=SegmentMap(labels, map=index.int())).to(device))
        things = range(count - len(stuff))
        masks = np.stack([(index == k).numpy() for k in things]).astype(np.uint8)
        # of things, the label map says where they are, too
        theirs = DetDataSample(metainfo=meta)
        theirs.gt_instances = InstanceData(
            labels=labels[:len(things)], masks=BitmapMasks(masks, *size))
        theirs.gt_sem_seg = PixelData(sem_seg=labels[index][None])
        samples['mmdet'].append(theirs.to(device))
    return samples
