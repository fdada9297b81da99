"""The files of a report: ``images.jsonl``, a line for each image, and ``report.json``, all figures.

All qualities are in 0 .. 1. Numbers that do not exist, such as the PQ of an image without a
segment, are None, and null in the files.
"""
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from mmpanseg.utils import strict_json
from mmpanseg.utils.atomic_files import result_file

SUMMARY, IMAGES, PAGE, PICTURES = 'report.json', 'images.jsonl', 'index.html', 'pictures'
FORMAT, VERSION = 'mmpanseg.report', 1

# [label, sum of IoU, true positives, false positives, false negatives]
ClassSums = list[int | float]


@dataclass
class SegmentRecord:
    """One segment of the ground truth or of the prediction.

    Attributes:
        side: ``'gt'`` or ``'pred'``.
        id: its value in the map of its side.
        label: class, 0 .. C - 1.
        area: pixels.
        box: (x1, y1, x2, y2) in pixels of the image, ``x2`` and ``y2`` one past the last pixel.
        kind: one of :data:`mmpanseg.structures.error_kinds.SEGMENT_KINDS`.
        iou: with its match, or else the largest with a segment of the other side, in 0 .. 1.
        text: why it is of this kind, a short sentence.
        score: of a predicted segment, in 0 .. 1; None where the predictions have none.
        match: id of its match on the other side.
        partner: id of the segment on the other side whose IoU with it exceeds 0.5, of any class;
            there is at most one, and a match is one. None of crowds.
        reason: of a missed segment, why no query gave it:
            :data:`mmpanseg.analysis.lost_segments.REASONS`; None where queries are unknown.
        query: number of the query that gave the segment, or that came closest to it.
    """

    side: str
    id: int
    label: int
    area: int
    box: tuple[int, int, int, int]
    kind: str
    iou: float
    text: str = ''
    score: float | None = None
    match: int | None = None
    partner: int | None = None
    reason: str | None = None
    query: int | None = None


@dataclass
class ImageRecord:
    """One image.

    Attributes:
        number: 0, 1, ... in the order of the report.
        image_id: id in the data set.
        name: short name, unique in the report.
        path: of the image file, or what is known of it.
        size: (H, W).
        pq: mean over the classes in this image's ground truth or prediction; None without any.
        sq: the same of segmentation quality.
        rq: the same of recognition quality.
        tp: matched pairs.
        fp: predicted segments without a match.
        fn: ground truth segments without a match.
        sums: variant (``'all'``, ``'boundary'``, ``'small'``, ``'medium'``, ``'large'``) -> a row
            [label, sum of IoU, tp, fp, fn] for each class with a count.
        pixels: name of a :class:`mmpanseg.structures.error_kinds.PixelKind` in lower case ->
            number of pixels in the error map.
        segments: ground truth first.
        pictures: ``'image'``, ``'prediction'``, ``'truth'``, ``'errors'`` and the same with
            ``_small`` -> address relative to the folder of the report; empty for images that the
            report has no pictures of.
        error: why the image is not scored; the other numbers are empty then.
        note: why it has no or incomplete pictures.
    """

    number: int
    image_id: int | str
    name: str
    path: str
    size: tuple[int, int]
    pq: float | None = None
    sq: float | None = None
    rq: float | None = None
    tp: int = 0
    fp: int = 0
    fn: int = 0
    sums: dict[str, list[ClassSums]] = field(default_factory=dict)
    pixels: dict[str, int] = field(default_factory=dict)
    segments: list[SegmentRecord] = field(default_factory=list)
    pictures: dict[str, str] = field(default_factory=dict)
    error: str | None = None
    note: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON's types."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> 'ImageRecord':
        """Convert from :meth:`to_json`.

        Raises:
            ValueError: a key is missing or unknown.
        """
        found = _checked(cls, content)
        found['size'] = tuple(found['size'])
        found['segments'] = [SegmentRecord(**dict(_checked(SegmentRecord, entry),
                                                  box=tuple(entry['box'])))
                             for entry in found['segments']]
        return cls(**found)


@dataclass
class ClassRecord:
    """One class, as the report counts it.

    Attributes:
        name: of the class.
        is_thing: False for stuff.
        color: (red, green, blue) of its segments in pictures.
        category_id: in the annotation files.
        quality: variant -> dict of pq, sq, rq in 0 .. 1, tp, fp, fn, and iou, the sum over matched
            pairs; only variants in which the class occurs.
        kinds: ``'gt'`` and ``'pred'`` -> number of segments of each kind.
        segments: number of segments of the ground truth, without crowds.
        ap: COCO's average precision in 0 .. 1, if computed.
        iou: of the semantic map, in 0 .. 1, if computed.
    """

    name: str
    is_thing: bool
    color: tuple[int, int, int]
    category_id: int | None = None
    quality: dict[str, dict[str, float]] = field(default_factory=dict)
    kinds: dict[str, dict[str, int]] = field(default_factory=dict)
    segments: int = 0
    ap: float | None = None
    iou: float | None = None


@dataclass
class Summary:
    """All figures of a report.

    Attributes:
        title: of the page, e.g. the name of the config.
        complete: False while a run is not complete, or if it was interrupted.
        source: where the results come from: ``config``, ``checkpoint``, ``predictions``,
            ``truth``, ``split``; those that exist, as texts.
        options: of the run, by the names of the command line.
        classes: all C classes.
        num_images: images in the data set.
        num_scored: images in the figures.
        num_failed: images that could not be read or scored.
        num_pictured: images with pictures.
        seed: of the random sample of images; None if all images were used.
        quality: variant (see :attr:`ImageRecord.sums`) -> ``'all'``, ``'things'``, ``'stuff'`` ->
            pq, sq, rq in 0 .. 1 and n, the number of classes.
        metrics: name -> number, as `mmpanseg test` prints it (percent): PQ and its variants, AP,
            mIoU; those that were computed.
        confusion: see :class:`mmpanseg.report.statistics.Confusion`: ``rows`` and ``columns``,
            their names, ``counts`` [C + 1][C + 1].
        calibration: see :class:`mmpanseg.report.statistics.Calibration`: ``bins``, a list of low,
            high, n, score (mean), right (share), and ``ece``, ``n``; None without scores.
        recall_by_area: see :class:`mmpanseg.report.statistics.SizeRecall`: a list of low, high
            (areas in pixels; None: no limit), n, found, iou (mean of those found).
        kinds: ``'gt'`` and ``'pred'`` -> number of segments of each kind.
        reasons: reason -> number of missed segments; None where queries are unknown.
        pixels: name of a pixel kind -> number of pixels in all error maps.
        has_scores: whether predicted segments have scores.
        notes: sentences that a reader must know, e.g. why there are no reasons.
        seconds: of the run.
        versions: package -> version.
    """

    title: str
    complete: bool = False
    source: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    classes: list[ClassRecord] = field(default_factory=list)
    num_images: int = 0
    num_scored: int = 0
    num_failed: int = 0
    num_pictured: int = 0
    seed: int | None = None
    quality: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    confusion: dict[str, Any] = field(default_factory=dict)
    calibration: dict[str, Any] | None = None
    recall_by_area: list[dict[str, Any]] = field(default_factory=list)
    kinds: dict[str, dict[str, int]] = field(default_factory=dict)
    reasons: dict[str, int] | None = None
    pixels: dict[str, int] = field(default_factory=dict)
    has_scores: bool = False
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON's types, with the format and its version."""
        return dict(format=FORMAT, version=VERSION, **asdict(self))

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> 'Summary':
        """Convert from :meth:`to_json`.

        Raises:
            ValueError: it is no summary, or one of another version.
        """
        if not isinstance(content, dict) or content.get('format') != FORMAT:
            raise ValueError(f'no report: "format" must be {FORMAT!r}')
        if content.get('version') != VERSION:
            raise ValueError(f'the report has version {content.get("version")!r}, this package '
                             f'reads version {VERSION}: make the report again')
        found = _checked(cls, {key: value for key, value in content.items()
                               if key not in ('format', 'version')})
        found['classes'] = [ClassRecord(**dict(_checked(ClassRecord, entry),
                                               color=tuple(entry['color'])))
                            for entry in found['classes']]
        return cls(**found)


def write_summary(folder: Path, summary: Summary) -> None:
    """Write ``report.json``.

    Raises:
        FileWriteError: the file cannot be written.
        ValueError: a number is not finite.
    """
    with result_file(folder / SUMMARY) as part:
        part.write_text(strict_json.dumps(summary.to_json(), indent=1) + '\n', encoding='utf-8')


def read_summary(folder: Path) -> Summary:
    """Read ``report.json``.

    Raises:
        ValueError: the folder has none, or it is damaged; the text names the file.
    """
    path = folder / SUMMARY
    try:
        return Summary.from_json(_load(path.read_text(encoding='utf-8')))
    except OSError as error:
        raise ValueError(f'{folder} is no folder of `mmpanseg report`: {SUMMARY} cannot be read '
                         f'({(error.strerror or str(error)).lower()})') from error
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error


def record_line(record: ImageRecord) -> str:
    """Write a record as one line of JSON, without the line break.

    Raises:
        ValueError: a number is not finite.
    """
    return strict_json.dumps(record.to_json(), separators=(',', ':'))


def read_records(folder: Path) -> Iterator[ImageRecord]:
    """Read ``images.jsonl`` line by line.

    Raises:
        ValueError: the folder has none, or a line is damaged; the text names file and line.
    """
    path = folder / IMAGES
    try:
        file = open(path, encoding='utf-8')
    except OSError as error:
        raise ValueError(f'{folder} is no folder of `mmpanseg report`: {IMAGES} cannot be read '
                         f'({(error.strerror or str(error)).lower()})') from error
    with file:
        for number, line in enumerate(file, 1):
            try:
                yield ImageRecord.from_json(_load(line))
            except ValueError as error:
                raise ValueError(f'{path}, line {number}: {error}; make the report again'
                                 ) from error


def _load(text: str) -> Any:
    return json.loads(text, parse_constant=strict_json.refuse_constant)


Record = TypeVar('Record', ImageRecord, SegmentRecord, ClassRecord, Summary)


def _checked(kind: type[Record], content: Any) -> dict[str, Any]:
    """Check that a dict has the fields of a record.

    Raises:
        ValueError: it has others.
    """
    names = {entry.name for entry in fields(kind)}
    if not isinstance(content, dict) or set(content) != names:
        other = names.symmetric_difference(content) if isinstance(content, dict) else names
        raise ValueError(f'no {kind.__name__}: {", ".join(sorted(map(str, other)))} '
                         'must be there, and nothing else')
    return dict(content)
