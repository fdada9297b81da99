"""What is known about a segment: the content of a sheet and of the JSON.

H, W: size of the image; h, w: size of a map; H', W': size of pictures, at most ``PICTURE_SIDE``.
"""
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from mmpanseg.models.fusion_heads.query_fates import Fate
from mmpanseg.results import Result, Segment
from mmpanseg.visualization.text import keep_order

# longest side of the masks that are kept for pictures
PICTURE_SIDE = 512


class ClassScore(NamedTuple):
    """A class and its score, in 0 .. 1."""

    name: str
    score: float


@dataclass(frozen=True)
class Look:
    """Where a query looked on one map, cut to the image.

    Attributes:
        stride: pixels of the network's input that a cell of the map covers.
        heads: attention weights, float32 [heads, h, w].
        allowed: bool [h, w] where the query might look, or float [heads, h, w] of 0 .. 1 that the
            weights are multiplied with; None: everywhere.
        inside: share of the attention inside the query's final mask, by head.
        queries_share: share of the attention on other queries; None where they have none.
        extent: (height, width) of the image in cells; a fraction of the last ones can be padding.
    """

    stride: int
    heads: np.ndarray
    allowed: np.ndarray | None
    inside: list[float]
    queries_share: float | None
    extent: tuple[float, float]

    @property
    def mean(self) -> np.ndarray:
        """Mean of the heads, float32 [h, w]."""
        return self.heads.mean(0)


@dataclass(frozen=True)
class Points:
    """Points of deformable attention, in 0 .. 1 of the image.

    Attributes:
        places: (x, y) float32 [heads, levels, points, 2]; some can lie outside of the image.
        weights: float32 [heads, levels, points]; the sum of a head is 1.
        reference: (x, y) or (center x, center y, width, height) that the points are around.
        inside: share of the weights inside the query's final mask, mean of the heads.
    """

    places: np.ndarray
    weights: np.ndarray
    reference: list[float]
    inside: float


@dataclass
class LayerView:
    """What one layer of the decoder computed for the query.

    Attributes:
        title: such as 'layer 3'.
        scores: score of each class, "no object" last; None without a classifier.
        mask: mask probabilities, float32 [H', W']; None without a mask.
        area: pixels of the mask at the size of the image.
        iou: IoU of the mask with the query's final mask at the size of the image.
        looks: where the query looked, one for each map.
        points: where it looked, in deformable attention.
        cluster: bool [H', W'] of the pixels that the k-means update assigned to the query.
        owners: int32 [H', W'], the query of every pixel in that update.
        cluster_iou: IoU of the cluster with the final mask, in cells of the layer's map.
        logits: attention logits of the heads that a mask is computed from, float32 [heads, h, w].
        logits_extent: extent of the image on their map, as ``Look.extent``.
    """

    title: str
    scores: list[float] | None = None
    mask: np.ndarray | None = None
    area: int | None = None
    iou: float | None = None
    looks: list[Look] = field(default_factory=list)
    points: Points | None = None
    cluster: np.ndarray | None = None
    owners: np.ndarray | None = None
    cluster_iou: float | None = None
    logits: np.ndarray | None = None
    logits_extent: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class RunnerUp:
    """Another query whose mask overlaps the segment.

    Attributes:
        row: of the result; ``fate.query`` is the same.
        query: its query.
        iou: IoU of its mask with the segment.
        name: its best class.
        score: the score of that class.
        fate: what became of it in the fusion.
    """

    row: int
    query: int
    iou: float
    name: str
    score: float
    fate: Fate


@dataclass(frozen=True)
class SegmentExplanation:
    """One segment with everything that is known about it.

    Attributes:
        segment: the segment; its ``id`` is its number in the list.
        row: row of the result that it is from.
        query: its query.
        fate: what became of the query in the fusion; ``fate.segment`` is the number of the segment.
        iou: IoU of the query's final mask with the segment.
        area: pixels of the query's final mask.
        alternatives: best classes of the query, the best first.
        layers: what each layer computed.
        runner_ups: other queries, the largest IoU first.
    """

    segment: Segment
    row: int
    query: int
    fate: Fate
    iou: float
    area: int
    alternatives: list[ClassScore]
    layers: list[LayerView]
    runner_ups: list[RunnerUp]

    @property
    def final_mask(self) -> np.ndarray:
        """Probabilities of the mask of the last layer that has one, float32 [H', W']."""
        return next(layer.mask for layer in reversed(self.layers) if layer.mask is not None)

    @property
    def title(self) -> str:
        """Number, class and score."""
        score = '' if self.segment.score is None else f' {self.segment.score:.2f}'
        return f'{self.segment.id} · {keep_order(self.segment.name)}{score}'

    def to_dict(self) -> dict[str, Any]:
        """Convert to types of JSON, without pictures."""
        segment = self.segment
        return dict(
            number=segment.id, label=segment.label, name=segment.name, is_thing=segment.is_thing,
            score=segment.score, area=segment.area, box=list(segment.box), row=self.row,
            query=self.query, fate=fate_dict(self.fate), iou=self.iou, mask_area=self.area,
            alternatives=[one._asdict() for one in self.alternatives],
            layers=[_layer_dict(layer) for layer in self.layers],
            runner_ups=[dict(row=one.row, query=one.query, iou=one.iou, name=one.name,
                             score=one.score, fate=fate_dict(one.fate))
                        for one in self.runner_ups])


@dataclass(frozen=True)
class ListedSegment:
    """A segment in the list of all: its number, class, score, area and query."""

    segment: Segment
    query: int

    def to_dict(self) -> dict[str, Any]:
        """Convert to types of JSON."""
        return dict(number=self.segment.id, name=self.segment.name, score=self.segment.score,
                    area=self.segment.area, query=self.query)


@dataclass(frozen=True)
class Explanation:
    """An image with its explained segments.

    Attributes:
        result: the panoptic prediction.
        model: name of the model's parts: head and fusion head.
        attention_title: what the maps of ``looks`` are.
        listed: all segments.
        explained: the chosen ones.
    """

    result: Result
    model: str
    attention_title: str
    listed: list[ListedSegment]
    explained: list[SegmentExplanation]

    @property
    def name(self) -> str:
        """Path of the image, or 'image' for one in memory."""
        return self.result.path or 'image'

    def to_dict(self) -> dict[str, Any]:
        """Convert to types of JSON, without pictures."""
        return dict(
            image=self.result.path, size=list(self.result.size), model=self.model,
            classes=list(self.result.classes), segments=[one.to_dict() for one in self.listed],
            explained=[one.to_dict() for one in self.explained])


def fate_dict(fate: Fate) -> dict[str, Any]:
    """Convert a fate to types of JSON."""
    return dict(rule=fate.rule, value=fate.value, limit=fate.limit, option=fate.option,
                segment=fate.segment, text=fate.text)


def _layer_dict(layer: LayerView) -> dict[str, Any]:
    points = layer.points
    return dict(
        title=layer.title, scores=layer.scores, mask_area=layer.area, mask_iou=layer.iou,
        attention=[dict(stride=look.stride, inside_mask=look.inside,
                        on_queries=look.queries_share) for look in layer.looks],
        points=None if points is None else dict(
            reference=points.reference, inside_mask=points.inside,
            places=points.places.tolist(), weights=points.weights.tolist()),
        cluster_iou=layer.cluster_iou)
