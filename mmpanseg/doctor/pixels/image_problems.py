"""Collecting of problems of one image."""
from mmpanseg.doctor.problem import Problem, Severity, problem
from mmpanseg.doctor.source import ImageRecord, Source


class ImageProblems:
    """Problems of one image.

    Args:
        record: the image.
        source: its source.

    Attributes:
        problems: the problems in the order of their checks.
    """

    def __init__(self, record: ImageRecord, source: Source) -> None:
        self.record, self.source = record, source
        self.problems: list[Problem] = []

    def add(self, check: str, text: str, *, segment_id: int | None = None,
            mend: str | None = None, severity: Severity | None = None) -> None:
        """Add a problem of the image file, or of one of its objects."""
        self._add(self.record.file_name, check, text, segment_id, mend, severity)

    def add_to_map(self, check: str, text: str, *, segment_id: int | None = None,
                   mend: str | None = None, severity: Severity | None = None) -> None:
        """Add a problem of the map."""
        self._add(self.record.annotation_name, check, text, segment_id, mend, severity)

    def _add(self, file: str | None, check: str, text: str, segment_id: int | None,
             mend: str | None, severity: Severity | None) -> None:
        self.problems.append(problem(
            check, text, split=self.source.split, file=file, image_id=self.record.image_id,
            segment_id=segment_id, mend=mend, severity=severity))


def size_text(size: tuple[int, ...]) -> str:
    """Return a size (H, W) as text: 640x480 is 640 wide."""
    return f'{size[1]}x{size[0]}'


def some(values: list, limit: int = 10) -> str:
    """Return the first values as text."""
    return ', '.join(map(str, values[:limit])) + (', ...' if len(values) > limit else '')
