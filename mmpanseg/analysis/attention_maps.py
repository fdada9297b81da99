"""Attention maps behind the segments of a Panoptic SegFormer (Figure B.6 of the appendix).

Shapes: h heads, S tokens, H, W finest level, K segments.
"""
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmpanseg.structures.attention_masks import AttentionMasks


class SegmentAttention(NamedTuple):
    """One segment of a result.

    ``info``: its entry of ``segments_info``; ``inside``: bool [H', W'], its pixels in the image;
    ``heads``: float32 [h, H, W], attention logits, mean over the levels; ``mask``: float32 [H, W],
    what the mask decoder makes of them.
    """
    info: dict
    inside: np.ndarray
    heads: np.ndarray
    mask: np.ndarray


@torch.no_grad()
def segment_attention(model: nn.Module, data: dict) -> list[tuple[object, list[SegmentAttention]]]:
    """Every image's data sample, and its segments with the attention they were made of.

    Args:
        model: a :class:`MaskTransformer` with a Panoptic SegFormer head, in evaluation mode.
        data: a batch as from a test data loader.

    Raises:
        ValueError: the masks of the head are not computed from attention maps.
    """
    batch = model.data_preprocessor(data, False)
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


def final_of_row(final: Sequence[AttentionMasks], row: int) -> tuple[AttentionMasks, int]:
    """Which of the decoders' masks a row of the result is, and its index there."""
    for masks in final:
        count = masks.query.shape[2]
        if row < count:
            return masks, row
        row -= count
    raise IndexError('the result has more rows than the mask decoders gave')


def head_maps(masks: AttentionMasks, image: int, index: int) -> Tensor:
    """Attention logits of one query by head, float32 [h, H, W], mean over the levels."""
    logits = masks.attention(image, torch.tensor([index]))[0].float()
    levels = logits.split([height * width for height, width in masks.sizes], dim=1)
    return torch.stack([
        F.interpolate(level.unflatten(1, size)[None], masks.size, mode='bilinear',
                      align_corners=False)[0]
        for level, size in zip(levels, masks.sizes)]).mean(0)
