"""Query of each pixel after every stage of a kMaX-DeepLab decoder.

B: number of images; Q: number of queries; h, w: size of the map of a stage; H, W: size of an image.
"""
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch

from mmpanseg.explain.grids import Grid, grid_of
from mmpanseg.explain.recording import trace_batch
from mmpanseg.models.heads import KMaXDeepLabHead
from mmpanseg.models.segmentors import MaskTransformer
from mmpanseg.visualization import DrawnSegment, draw_panoptic, generate_palette, side_by_side


class Clusters(NamedTuple):
    """Clusters of pixels of one stage.

    Args:
        stride: stride of the map.
        owner: query with the largest mask logit, int32 [B, h, w].
    """
    stride: int
    owner: np.ndarray


@torch.no_grad()
def cluster_maps(model: MaskTransformer, data: dict, every_layer: bool = False
                 ) -> tuple[Sequence, list[Clusters]]:
    """Compute the clusters of each stage and of the result for a batch.

    The clusters of a layer are those of its k-means update. Layers without a prediction, as with
    plain cross-attention, have no clusters.

    Args:
        model: segmentor with a kMaX-DeepLab head, in evaluation mode.
        data: batch of a test data loader.
        every_layer: return the clusters of all layers; False: of the last layer of each stage.

    Returns:
        data samples of the batch, and the clusters.

    Raises:
        ValueError: the queries of the head are not cluster centers.
    """
    head = model.panoptic_head
    if not isinstance(head, KMaXDeepLabHead):
        raise ValueError(f'{type(head).__name__} has no cluster assignments: the queries of '
                         'mmpanseg.KMaXDeepLabHead are cluster centers')
    samples, _, _, trace = trace_batch(model, data)
    maps = [Clusters(grid_of(owner.shape[-2:], samples[0].metainfo).stride,
                     owner.to(torch.int32).cpu().numpy()) for owner in trace.owners()]
    if not every_layer:
        # of maps with the same stride, the last one
        maps = [map_ for map_, after in zip(maps, [*maps[1:], None])
                if after is None or after.stride != map_.stride]
    return samples, maps


def draw_clusters(image: np.ndarray, maps: Sequence[Clusters], index: int,
                  shape: tuple[int, int], num_queries: int, width: int = 320) -> np.ndarray:
    """Draw an image and its clusters side by side, one color per query (paper's Figure 1).

    Args:
        image: RGB, uint8 [H, W, 3].
        maps: clusters from :func:`cluster_maps`.
        index: index of the image in the batch.
        shape: (height, width) of the image in the padded input, in pixels.
        num_queries: Q, number of colors.
        width: width of each panel in pixels.

    Returns:
        RGB, uint8.
    """
    size = (width, max(1, round(width * image.shape[0] / image.shape[1])))
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    palette = generate_palette(num_queries)
    panels = [('image', image)]
    for stride, owner in maps:
        grid = Grid(stride, (shape[0] / stride, shape[1] / stride))
        owner = grid.spread(owner[index], size[::-1])
        queries = np.unique(owner).tolist()
        title = f'stride {stride}: {len(queries)} queries'
        panels.append((title, draw_panoptic(
            image, owner, [DrawnSegment(query, query, False) for query in queries], palette=palette,
            alpha=0.7, min_side=1, with_labels=False)))
    return side_by_side(panels)
