"""Which query owns each pixel, after every stage of a kMaX-DeepLab decoder.

Shapes: B images, Q queries, h x w map of a stage, H x W image.
"""
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import nn

from mmpanseg.models.heads import KMaXDeepLabHead
from mmpanseg.models.losses.kmax_criterion import find_stride
from mmpanseg.visualization import Segment, draw_panoptic, generate_palette, side_by_side


class Clusters(NamedTuple):
    """``stride`` of the map; ``owner``: int32 [B, h, w], query with the largest mask logit."""
    stride: int
    owner: np.ndarray


@torch.no_grad()
def cluster_maps(model: nn.Module, data: dict, every_layer: bool = False
                 ) -> tuple[Sequence, list[Clusters]]:
    """The batch's data samples, and the clusters of each stage and of the result.

    A layer's clusters are those that its k-means update uses. Layers without a prediction, as
    with plain cross-attention, have none.

    Args:
        model: a :class:`MaskTransformer` with a kMaX-DeepLab head, in evaluation mode.
        data: a batch as from a test data loader.
        every_layer: not only the last layer of each stage.

    Raises:
        ValueError: the head is another one.
    """
    head = model.panoptic_head
    if not isinstance(head, KMaXDeepLabHead):
        raise ValueError('only the queries of mmpanseg.KMaXDeepLabHead are cluster centers; '
                         f'model.panoptic_head is a {type(head).__name__}')
    batch = model.data_preprocessor(data, False)
    _, masks = head(model.extract_feat(batch['inputs']))
    size = batch['inputs'].shape[-2:]
    maps = [Clusters(find_stride(size, logits.shape[-2:]),
                     logits.argmax(1).to(torch.int32).cpu().numpy()) for logits in masks.logits]
    if not every_layer:
        # of maps with the same stride, the last one
        maps = [map_ for map_, after in zip(maps, [*maps[1:], None])
                if after is None or after.stride != map_.stride]
    return batch['data_samples'], maps


def draw_clusters(image: np.ndarray, maps: Sequence[Clusters], index: int,
                  shape: tuple[int, int], num_queries: int, width: int = 320) -> np.ndarray:
    """The image and its clusters side by side; a query keeps its color (paper's Figure 1).

    Args:
        image: uint8 RGB [H, W, 3].
        maps: from :func:`cluster_maps`.
        index: of the image in the batch.
        shape: (height, width) of the image in the padded input.
        num_queries: Q, for the colors.
        width: of each picture in pixels.

    Returns:
        uint8 RGB.
    """
    size = (width, max(1, round(width * image.shape[0] / image.shape[1])))
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    palette = generate_palette(num_queries)
    panels = [('image', image)]
    for stride, owner in maps:
        # nearest: the pixels of the picture in the padded input, then in the map
        rows, columns = (np.arange(length) * side // length // stride
                         for length, side in zip(size[::-1], shape))
        owner = owner[index][rows[:, None], columns]
        queries = np.unique(owner).tolist()
        title = f'stride {stride}: {len(queries)} queries'
        panels.append((title, draw_panoptic(
            image, owner, [Segment(query, query, False) for query in queries], palette=palette,
            alpha=0.7, min_side=1, with_labels=False)))
    return side_by_side(panels)
