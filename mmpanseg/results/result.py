"""The result of one image."""
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from mmpanseg.results import checks, coco_exports, json_content, optional_exports, tables
from mmpanseg.results.filtering import filter_outputs
from mmpanseg.results.picture_source import PictureSource
from mmpanseg.results.segment import Segment
from mmpanseg.utils import strict_json

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.table import Table
    from supervision import Detections

    from mmpanseg.evaluation.panoptic_quality import PanopticMap
    from mmpanseg.visualization.palettes import PaletteLike


class Result:
    """What a model predicts for one image: a sequence of segments, with everything around it.

    Arrays are NumPy's: tensors are copied to the host. Arrays that have the right type are not
    copied.

    Args:
        size: (H, W) of the image.
        classes: class names by label.
        num_things: labels below are things.
        panoptic: (integer map [H, W] of segment ids, 0 = void; list of dict(id, label, score)).
        instances: (labels [n], scores [n], masks bool [n, H, W] or list of n COCO run lengths,
            boxes [n, 4] or None: those of the masks).
        semantic: integer map [H, W] of labels, -1 = void.
        image: uint8 RGB [H, W, 3], or the source that another result shares.
        path: file or URL of the image, from which the image is read when it is needed.
        speed: milliseconds of each phase: load, preprocess, forward, fuse.
        palette: RGB color of each label (default: generated).
        category_ids: id of each label in exports (default: label + 1).
        image_id: id of the image in exports.
        file_name: name of the image in exports.

    Attributes:
        panoptic_map: int32 [H, W] of segment ids, 0 = void; None if none is predicted.
        semantic_map: int32 [H, W] of labels, -1 = void; None if none is predicted.
        size, classes, num_things, speed, palette, category_ids, image_id, file_name: as given.

    Raises:
        ValueError: sizes differ; the map has an id that the list does not have, or the reverse; a
            label is unknown; a score is not finite.
    """

    def __init__(self, size: Sequence[int], classes: Sequence[str], num_things: int, *,
                 panoptic: tuple[Any, Sequence[Mapping]] | None = None,
                 instances: tuple[Any, Any, Any, Any] | None = None, semantic: Any = None,
                 image: np.ndarray | PictureSource | None = None, path: str | Path | None = None,
                 speed: Mapping[str, float] | None = None,
                 palette: Sequence[Sequence[int]] | None = None,
                 category_ids: Sequence[int] | None = None, image_id: int | str | None = None,
                 file_name: str | None = None) -> None:
        self.size = checks.check_size(size)
        self.classes = checks.check_classes(classes, num_things)
        self.num_things = int(num_things)
        count = len(self.classes)
        self.palette = checks.check_per_class('palette', palette, count)
        self.category_ids = (checks.check_per_class('category_ids', category_ids, count)
                             or list(range(1, count + 1)))
        self.image_id, self.file_name = checks.check_image_id(image_id), file_name
        self.speed = {name: float(value) for name, value in (speed or {}).items()}
        self._picture = (image if isinstance(image, PictureSource)
                         else PictureSource(self.size, image, path))
        self._panoptic = (None if panoptic is None
                          else checks.check_panoptic(panoptic, self.size, count))
        self._instances = (None if instances is None
                           else checks.check_instances(instances, self.size, count))
        self._semantic = (None if semantic is None
                          else checks.check_semantic(semantic, self.size, count))
        self.panoptic_map = None if self._panoptic is None else self._panoptic[0].ids
        self.semantic_map = None if self._semantic is None else self._semantic.ids

    @property
    def segments(self) -> list[Segment]:
        """The segments that the result is a sequence of.

        Those of the panoptic map in the model's order; without a map the instances; without these
        one segment for each class in the semantic map, with label + 1 as id. Empty without any
        output.
        """
        for found in (self.panoptic_segments, self.instances, self.semantic_segments):
            if found is not None:
                return found
        return []

    @cached_property
    def panoptic_segments(self) -> list[Segment] | None:
        """The segments of the panoptic map, in the model's order; None without a map."""
        if self._panoptic is None:
            return None
        masks, infos = self._panoptic
        found = {key: (area, tuple(box)) for key, area, box in masks.rows()}
        return [self._segment(info['id'], info['label'], info['score'], *found[info['id']],
                              masks, info['id'])
                for info in infos]

    @cached_property
    def instances(self) -> list[Segment] | None:
        """The instances in the model's order, with ids 1 .. n; they may overlap.

        None if the model predicts none.
        """
        if self._instances is None:
            return None
        masks, infos = self._instances
        return [self._segment(number + 1, info['label'], info['score'], info['area'], info['box'],
                              masks, number)
                for number, info in enumerate(infos)]

    @cached_property
    def semantic_segments(self) -> list[Segment] | None:
        """One segment for each class in the semantic map, by label; None without a map."""
        if self._semantic is None:
            return None
        return [self._segment(label + 1, label, None, area, tuple(box), self._semantic, label)
                for label, area, box in self._semantic.rows() if label >= 0]

    @property
    def image(self) -> np.ndarray | None:
        """The image, uint8 RGB [H, W, 3]; None without image and path.

        It is read from the path at first access, upright, and then kept. It can be set.
        """
        return self._picture.read()

    @image.setter
    def image(self, pixels: np.ndarray | None) -> None:
        self._picture.set(pixels)

    @property
    def path(self) -> str | None:
        """File or URL of the image."""
        return self._picture.path

    @property
    def tasks(self) -> tuple[str, ...]:
        """The outputs that the result has: 'panoptic', 'instance', 'semantic'."""
        outputs = dict(panoptic=self._panoptic, instance=self._instances, semantic=self._semantic)
        return tuple(task for task, output in outputs.items() if output is not None)

    @property
    def categories(self) -> list[dict]:
        """Categories of exports: dict(id, name, isthing) of each label."""
        return [dict(id=number, name=name, isthing=int(label < self.num_things))
                for label, (number, name) in enumerate(zip(self.category_ids, self.classes))]

    def __len__(self) -> int:
        return len(self.segments)

    def __iter__(self) -> Iterator[Segment]:
        return iter(self.segments)

    @overload
    def __getitem__(self, key: int) -> Segment: ...

    @overload
    def __getitem__(self, key: slice | str) -> list[Segment]: ...

    def __getitem__(self, key: int | slice | str) -> Segment | list[Segment]:
        """Segments by position, by slice, or by class name (all segments of the class).

        Raises:
            IndexError: there is no such position.
            KeyError: there is no such class; the text has near names.
        """
        if not isinstance(key, str):
            return self.segments[key]
        if key not in self.classes:
            raise KeyError(checks.unknown_class(self.classes, key))
        return [segment for segment in self.segments if segment.name == key]

    def __repr__(self) -> str:
        height, width = self.size
        where = f' of {self.path}' if self.path else ''
        return f'<Result{where}, {height} x {width}: {self.summary()}>'

    def filter(self, classes: str | int | Iterable[str | int] | None = None,
               min_score: float | None = None, min_area: int | None = None,
               things_only: bool = False) -> 'Result':
        """Keep a part of the segments.

        Each output is filtered for itself. Ids of the panoptic map do not change, and pixels of
        dropped segments become void; instances are numbered anew; classes of the semantic map that
        are dropped become void.

        Args:
            classes: names or labels to keep (default: all).
            min_score: least score; segments without a score are kept.
            min_area: least number of pixels.
            things_only: drop stuff.

        Returns:
            a new result.

        Raises:
            ValueError: a class is unknown; the text has near names.
        """
        labels = None if classes is None else checks.find_labels(self.classes, classes)

        def keeps(label: int, score: float | None, area: int) -> bool:
            return ((labels is None or label in labels)
                    and (not things_only or label < self.num_things)
                    and (min_score is None or score is None or score >= min_score)
                    and (min_area is None or area >= min_area))

        options: dict[str, Any] = dict(
            image=self._picture, speed=self.speed, palette=self.palette,
            category_ids=self.category_ids, image_id=self.image_id, file_name=self.file_name)
        outputs = filter_outputs(self._panoptic, self._instances, self._semantic, keeps)
        return Result(self.size, self.classes, self.num_things, **options, **outputs)

    def plot(self, *, alpha: float = 0.55, min_side: int = 800, with_labels: bool = True,
             with_scores: bool = True, min_score: float = 0.3,
             colors: Mapping[int, tuple[int, int, int]] | None = None,
             palette: 'PaletteLike | None' = None, style: str = 'overlay',
             line_width: float | None = None, label_size: float = 1.0,
             font: str | Path | None = None) -> np.ndarray:
        """Draw the segments on the image, as :class:`PanopticInferencer` does.

        Args:
            alpha: opacity of the colors, 0..1.
            min_side: pictures with a longer side of fewer pixels are enlarged to it.
            with_labels: write class names on the segments.
            with_scores: write scores, in percent, after the names of things.
            min_score: things with a lower score are left out.
            colors: id of a segment -> its RGB color (default: that of its class in the palette,
                varied by instance).
            palette: ``'colorblind'``, ``'generated'``, the name of a data set, a list, a dict by
                class name, or a file, see :func:`mmpanseg.visualization.find_palette` (default:
                that of the result).
            style: ``overlay``, ``mask`` (colors on black), ``outlines`` (colored lines on the
                image) or ``transparent`` (only the segments). The second and the last need no
                image.
            line_width: of the outlines in pixels, 0 for none (default: grows with the picture).
            label_size: size of the names, relative to the one that suits the picture; 0 for none.
            font: font file to prefer for the names (default: one that has the characters).

        Returns:
            uint8 RGB [H', W', 3], or RGBA for ``transparent``; H' = H and W' = W unless enlarged.

        Raises:
            ValueError: the result has no image, or one of another size; or an option is invalid.
        """
        from mmpanseg.results.pictures import draw
        return draw(self, min_score, alpha=alpha, min_side=min_side, with_labels=with_labels,
                    with_scores=with_scores, colors=colors, palette=palette, style=style,
                    line_width=line_width, label_size=label_size, font=font)

    def compare(self, truth: 'PanopticMap | Result', **options: Any) -> np.ndarray:
        """Draw image, result, ground truth and error map side by side.

        Matched segments have the color of their partner, and below is what the colors of the error
        map mean.

        Args:
            truth: the ground truth, with the labels of the result.
            options: of :meth:`plot`, except ``colors``; ``min_score`` is 0 by default, because the
                errors of all segments are shown.

        Returns:
            uint8 RGB [H', W', 3].

        Raises:
            ValueError: as :meth:`plot`; or the ground truth has another size or other classes, or
                the style is ``transparent``.
        """
        from mmpanseg.results.comparison import compare
        return compare(self, truth, **options)

    def show(self, **options: Any) -> None:
        """Show the picture of :meth:`plot` in a window, until it is closed, or in a notebook.

        Args:
            options: of :meth:`plot`; with ``truth``, of :meth:`compare`.

        Raises:
            NoDisplayError: no window can be opened.
        """
        from mmpanseg.results.pictures import show
        show(self, **options)

    def save(self, path: str | Path, content: str | None = None, **options: Any) -> None:
        """Write the result to a file, which is complete or absent.

        Args:
            path: of the file; missing folders are created.
            content: ``picture`` (of :meth:`plot`), ``json`` (:meth:`to_json`), ``panoptic`` (PNG
                of the ids in COCO's color coding) or ``semantic`` (PNG of the labels; void is 255,
                or 65535 in 16 bits for more than 255 classes). By default ``json`` for the ending
                .json, else ``picture``.
            options: of :meth:`plot`, for pictures; and ``truth`` for a picture of
                :meth:`compare`.

        Raises:
            ValueError: the ending or the content is unknown, or the result lacks the content.
            OSError: the file cannot be written.
        """
        from mmpanseg.results.pictures import save
        save(self, Path(path), content, **options)

    def summary(self) -> str:
        """Count the things by class, then name the stuff: ``'3 person, 2 car, road, sky'``."""
        return tables.summarize(self)

    def table(self) -> 'Table':
        """Make a table of the segments for rich's consoles."""
        return tables.make_table(self)

    def to_dict(self) -> dict:
        """Convert to a dict of JSON's types, with all maps and masks as run lengths.

        The image is not part of it, only its path.

        Raises:
            ValueError: an id is neither a number nor a text.
        """
        return json_content.to_dict(self)

    def to_json(self, **options: Any) -> str:
        """Convert :meth:`to_dict` to JSON.

        Args:
            options: of :func:`json.dumps`, such as ``indent``.
        """
        return strict_json.dumps(self.to_dict(), **options)

    @classmethod
    def from_dict(cls, content: Mapping) -> 'Result':
        """Create the result that :meth:`to_dict` converted.

        Args:
            content: the dict.

        Raises:
            ValueError: the dict is none of a result; the text names the key.
        """
        return cls(**json_content.read_arguments(content))

    @classmethod
    def from_json(cls, text: str | bytes) -> 'Result':
        """Create the result that :meth:`to_json` converted.

        Args:
            text: content of the file.

        Raises:
            ValueError: the text is no JSON of a result.
        """
        return cls.from_dict(json_content.parse(text))

    def to_coco_panoptic(self, image_id: int | str | None = None,
                         file_name: str | None = None) -> tuple[np.ndarray, dict]:
        """Convert to COCO's panoptic format.

        Instances without a panoptic map are painted over each other, those with a higher score on
        top; what is hidden completely is left out. Of a semantic map each class is a segment.

        Args:
            image_id: id of the image (default: see :meth:`export_id`).
            file_name: name of the PNG (default: name of the image with the ending .png).

        Returns:
            uint8 RGB [H, W, 3], the PNG; and its entry in ``annotations``, dict(image_id,
            file_name, segments_info: list of dict(id, category_id, area, bbox [x, y, w, h],
            iscrowd, score)), without ``score`` where there is none.
        """
        return coco_exports.to_coco_panoptic(self, image_id, file_name)

    def to_coco_instances(self, image_id: int | str | None = None) -> list[dict]:
        """Convert the instances to COCO's result format.

        Without instances, the things among the segments are converted: a semantic map has one for
        each class. The score is 1 where there is none.

        Args:
            image_id: id of the image (default: see :meth:`export_id`).

        Returns:
            list of dict(image_id, category_id, score, segmentation), masks as run lengths of text,
            so that JSON can have them. There is no ``bbox``: pycocotools would use its area in
            place of the mask's, and computes both from the mask.
        """
        return coco_exports.to_coco_instances(self, image_id)

    def export_id(self) -> int | str:
        """Choose the id of the image in exports.

        It is ``image_id``; without one the stem of ``file_name`` or of the path, as a number if it
        has only digits; without these 0.
        """
        return coco_exports.export_id(self)

    def to_pandas(self) -> 'DataFrame':
        """Convert to a table of pandas with a row for each segment.

        Columns: id, label, name, is_thing, score (NaN where there is none), area, x1, y1, x2, y2.

        Raises:
            ImportError: pandas is not installed.
        """
        return optional_exports.to_pandas(self)

    def to_supervision(self) -> 'Detections':
        """Convert the segments to detections of supervision.

        ``xyxy`` float32 [n, 4], ``mask`` bool [n, H, W], ``confidence`` float32 [n] (None if no
        segment has a score, NaN for single ones without), ``class_id`` int64 [n]; ``data`` has
        ``class_name``, ``segment_id`` and ``is_thing``.

        Raises:
            ImportError: supervision is not installed.
        """
        return optional_exports.to_supervision(self)

    def cpu(self) -> 'Result':
        """Return the result itself: all of its arrays are on the host already."""
        return self

    def numpy(self) -> 'Result':
        """Return the result itself: all of its arrays are NumPy's already."""
        return self

    def __rich__(self) -> 'Table':
        return self.table()

    def _repr_html_(self) -> str:
        from mmpanseg.results.pictures import thumbnail
        return tables.make_html(self, thumbnail(self))

    def _repr_png_(self) -> bytes | None:
        from mmpanseg.results.pictures import thumbnail
        return thumbnail(self)

    def _segment(self, number: int, label: int, score: float | None, area: int,
                 box: tuple, masks: Any, key: int) -> Segment:
        return Segment(number, label, self.classes[label], label < self.num_things, score, area,
                       box, masks, key, self._picture)
