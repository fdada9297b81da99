"""Attention maps of the segments of a Panoptic SegFormer (Figure B.6 of the appendix).

h: number of heads; H, W: height and width of the finest level.
"""
from typing import NamedTuple

import numpy as np
import torch

from mmpanseg.explain.grids import grid_of
from mmpanseg.explain.recording import trace_batch
from mmpanseg.models.heads import PanopticSegFormerHead
from mmpanseg.models.segmentors import MaskTransformer


class SegmentAttention(NamedTuple):
    """One segment of a result.

    Args:
        info: its entry of ``segments_info``.
        inside: its pixels in the image, bool [H', W'].
        heads: attention logits, mean over the levels, float32 [h, H, W].
        mask: mask that the mask decoder computes from them, float32 [H, W].
    """
    info: dict
    inside: np.ndarray
    heads: np.ndarray
    mask: np.ndarray


@torch.no_grad()
def segment_attention(model: MaskTransformer, data: dict
                      ) -> list[tuple[object, list[SegmentAttention]]]:
    """Predict a batch and return the attention maps of all segments.

    Args:
        model: segmentor with a Panoptic SegFormer head, in evaluation mode.
        data: batch of a test data loader.

    Returns:
        data sample and segments of each image.

    Raises:
        ValueError: the masks of the head are not computed from attention maps.
    """
    head = model.panoptic_head
    if not isinstance(head, PanopticSegFormerHead):
        raise ValueError(f'{type(head).__name__} has no attention maps: '
                         'mmpanseg.PanopticSegFormerHead and its subclasses compute masks from '
                         'them')
    samples, cls_logits, masks, trace = trace_batch(model, data)
    metainfos = [sample.metainfo for sample in samples]
    results = model.panoptic_fusion_head.predict(cls_logits, masks, metainfos)
    found = []
    for image, (sample, result) in enumerate(zip(samples, results)):
        panoptic = result['pred_panoptic_seg']
        pixels = panoptic.sem_seg[0].cpu().numpy()
        segments = []
        for info in panoptic.metainfo['segments_info']:
            last = trace.layers(image, info['query'])[-1]
            assert last.logits is not None  # every layer of this head has attention logits
            heads, mask = last.logits.cpu().numpy(), masks.dense(
                -1, image, torch.tensor([info['query']], device=cls_logits.device))[0]
            segments.append(SegmentAttention(
                info, pixels == info['id'],
                grid_of(heads.shape[-2:], sample.metainfo).cut(heads),
                grid_of(mask.shape, sample.metainfo).cut(mask.cpu().numpy())))
        found.append((sample, segments))
    return found
