"""What the doctor finds: a problem with its place, its severity and a way to mend it."""
from typing import NamedTuple

from mmpanseg.doctor.catalog import CHECKS, Severity

__all__ = ['Problem', 'Severity', 'problem']


class Problem(NamedTuple):
    """One problem of a data set.

    Attributes:
        check: id of the check, a key of :data:`mmpanseg.doctor.catalog.CHECKS`.
        text: what is wrong, one line.
        mend: how to mend it, one line.
        split: name of the split: 'train', 'val', 'test'; 'train 2' for the second one of several
            concatenated data sets; '' for the whole set.
        file: name of the file as the data set lists it; None if it concerns no file.
        image_id: id of the image; None if it concerns none.
        segment_id: id of the segment or of the annotation; None if it concerns none.
        severity: error, warning or note.
    """

    check: str
    text: str
    mend: str
    split: str = ''
    file: str | None = None
    image_id: int | str | None = None
    segment_id: int | None = None
    severity: Severity = Severity.ERROR


def problem(check_id: str, text: str, *, split: str = '', file: str | None = None,
            image_id: int | str | None = None, segment_id: int | None = None,
            mend: str | None = None, severity: Severity | None = None) -> Problem:
    """Create a problem with severity and mend of the catalog.

    Args:
        check_id: id of the check.
        text: what is wrong, one line.
        split: see :class:`Problem`.
        file: see :class:`Problem`.
        image_id: see :class:`Problem`.
        segment_id: see :class:`Problem`.
        mend: how to mend it; None for the text of the catalog.
        severity: None for that of the catalog.

    Raises:
        KeyError: no check has this id.
    """
    check = CHECKS[check_id]
    return Problem(check_id, ' '.join(text.split()), check.mend if mend is None else mend, split,
                   file, image_id, segment_id, check.severity if severity is None else severity)
