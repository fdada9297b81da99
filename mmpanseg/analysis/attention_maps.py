"""Attention maps of the segments of a Panoptic SegFormer (Figure B.6 of the appendix).

h: number of heads; H, W: height and width of the finest level.
"""
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmpanseg.models.segmentors import MaskTransformer
from mmpanseg.structures.attention_masks import QueryMasks


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
    batch = model.get_submodule('data_preprocessor')(data, False)
    samples = batch['data_samples']
    metainfos = [sample.metainfo for sample in samples]
    cls_logits, masks, attention = model.panoptic_head.attention_maps(
        model.extract_feat(batch['inputs']), metainfos)
    results = model.panoptic_fusion_head.predict(cls_logits, masks, metainfos)
    found = []
    for image, (sample, result) in enumerate(zip(samples, results)):
        panoptic = result['pred_panoptic_seg']
        pixels = panoptic.sem_seg[0].cpu().numpy()
        height, width = (-(-cut * own // padded) for cut, own, padded in zip(
            sample.img_shape, masks.size, sample.batch_input_shape))
        segments = []
        for info in panoptic.metainfo['segments_info']:
            maps = final_of_row(attention, info['query'])
            heads = head_maps(maps[0], image, maps[1])[:, :height, :width]
            mask = masks.dense(-1, image, torch.tensor([info['query']]))[0]
            segments.append(SegmentAttention(
                info, pixels == info['id'], heads.cpu().numpy(),
                mask[:height, :width].float().cpu().numpy()))
        found.append((sample, segments))
    return found


def final_of_row(final: Sequence[QueryMasks], row: int) -> tuple[QueryMasks, int]:
    """Return the masks of the decoder that predicted a row of the result, and its index there."""
    for masks in final:
        count = masks.query.shape[2]
        if row < count:
            return masks, row
        row -= count
    raise IndexError('the result has more rows than the mask decoders predicted')


def head_maps(masks: QueryMasks, image: int, index: int) -> Tensor:
    """Return the attention logits of a query, mean over the levels, float32 [h, H, W]."""
    logits = masks.attention(image, torch.tensor([index]))[0].float()
    levels = logits.split([height * width for height, width in masks.sizes], dim=1)
    return torch.stack([
        F.interpolate(level.unflatten(1, size)[None], masks.size, mode='bilinear',
                      align_corners=False)[0]
        for level, size in zip(levels, masks.sizes)]).mean(0)
