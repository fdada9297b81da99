"""Results as objects of packages that need not be installed."""
import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from mmpanseg.results.result import Result


def to_pandas(result: 'Result') -> Any:
    """Convert to a table of pandas, see :meth:`Result.to_pandas`."""
    columns: dict[str, list] = {name: [getattr(segment, name) for segment in result]
                                for name in ('id', 'label', 'name', 'is_thing', 'score', 'area')}
    columns['score'] = [np.nan if score is None else score for score in columns['score']]
    for number, name in enumerate(('x1', 'y1', 'x2', 'y2')):
        columns[name] = [segment.box[number] for segment in result]
    kinds = dict(id=np.int64, label=np.int64, name=str, is_thing=bool, score=float, area=np.int64,
                 x1=float, y1=float, x2=float, y2=float)
    return _module('pandas', 'to_pandas').DataFrame(columns).astype(kinds)


def to_supervision(result: 'Result') -> Any:
    """Convert to detections of supervision, see :meth:`Result.to_supervision`."""
    supervision = _module('supervision', 'to_supervision')
    segments = result.segments
    masks = np.zeros((len(segments), *result.size), bool)
    for row, segment in zip(masks, segments):
        row[:] = segment.mask()
    scores = [segment.score for segment in segments]
    confidence = None
    if not segments or any(score is not None for score in scores):
        confidence = np.array([np.nan if score is None else score for score in scores], np.float32)
    return supervision.Detections(
        xyxy=np.array([segment.box for segment in segments], np.float32).reshape(-1, 4),
        mask=masks, confidence=confidence,
        class_id=np.array([segment.label for segment in segments], np.int64),
        data=dict(class_name=np.array([segment.name for segment in segments], str),
                  segment_id=np.array([segment.id for segment in segments], np.int64),
                  is_thing=np.array([segment.is_thing for segment in segments], bool)))


def _module(name: str, method: str) -> ModuleType:
    """Import an optional package.

    Raises:
        ImportError: it is not installed, or lacks a package itself.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f'{method} needs the package {name} ({error}): pip install '
                          f'{name}') from error
