"""What ``mmpanseg doctor`` shows: sources, problems by check, classes, a summary."""
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import rich.progress
from rich.text import Text

from mmpanseg.cli.predict_screen import RateColumn, printable
from mmpanseg.cli.screen import console
from mmpanseg.doctor.catalog import CHECKS, Severity
from mmpanseg.doctor.problem import Problem
from mmpanseg.doctor.report import Report

# problems of a group, and classes, that are listed without --all
EXAMPLES, CLASSES = 3, 20
_STYLES = {Severity.ERROR: 'bold red', Severity.WARNING: 'bold yellow', Severity.NOTE: 'bold cyan'}
_WIDEST = 120
# share of the segments in training divided by that in validation from which a class is marked
_MARKED = 2.


class Progress:
    """A bar on stderr, on terminals only.

    Args:
        what: what is counted.
    """

    def __init__(self, what: str) -> None:
        screen = console(stderr=True)
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn('{task.description}', markup=False),
            rich.progress.BarColumn(), rich.progress.MofNCompleteColumn(), RateColumn(),
            rich.progress.TimeRemainingColumn(compact=True), console=screen, transient=True,
            redirect_stdout=False, redirect_stderr=False, disable=not screen.is_terminal)
        self._what = what
        self._task: rich.progress.TaskID | None = None

    def __enter__(self) -> 'Progress':
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._bar.stop()

    def advance(self, done: int, total: int) -> None:
        """Show that a number of all images is done."""
        if self._task is None:
            # processes start before the thread of the bar
            self._bar.start()
            self._task = self._bar.add_task(self._what, total=total)
        self._bar.update(self._task, completed=done)


class DoctorScreen:
    """Text on stdout.

    Args:
        show_all: list all problems, not only some of each group.
        strict: warnings count as errors.
    """

    def __init__(self, show_all: bool = False, strict: bool = False) -> None:
        self._screen, self._all, self._strict = console(), show_all, strict
        # lines of a file or a pipe are not broken: they are searched
        self._width = min(self._screen.width, _WIDEST) if self._screen.is_terminal else None

    def line(self, text: str, style: str = '') -> None:
        """Write a line."""
        self._screen.print(Text(text, style))

    def show(self, report: Report) -> None:
        """Write a report."""
        self._show_sources(report)
        for check, problems in report.by_check().items():
            self._show_group(check, problems)
        self._show_classes(report)
        self._show_summary(report)

    def _show_sources(self, report: Report) -> None:
        rows = []
        for source in report.sources:
            smallest, largest = source['smallest_size'], source['largest_size']
            size = '' if smallest is None else _size(smallest) if (
                smallest == largest) else f'{_size(smallest)} to {_size(largest)}'
            rows.append((source['split'], source['kind'], f'{source["images"]} images',
                         f'{source["segments"]} segments' if source['segments'] else '', size,
                         source['ann_file'] or source['seg_prefix'] or source['img_prefix']))
        widths = [max(map(len, column)) for column in zip(*rows)]
        for row in rows:
            cells = (cell.rjust(width) if number in (2, 3) else cell.ljust(width)
                     for number, (cell, width) in enumerate(zip(row, widths)))
            self.line(printable('  '.join(cell for cell in cells if cell).rstrip()))

    def _show_group(self, check: str, problems: list[Problem]) -> None:
        known = CHECKS[check]
        worst = problems[0].severity
        heading = Text('\n')
        heading.append(worst.name.ljust(8), _STYLES[worst])
        heading.append(f'{check}  ', 'dim')
        heading.append(known.title, 'bold')
        if len(problems) > 1:
            heading.append(f'  ({len(problems)})')
        self._screen.print(heading)
        shown = problems if self._all else problems[:EXAMPLES]
        for problem in shown:
            self._wrapped(_place(problem), printable(problem.text))
        if len(shown) < len(problems):
            self.line(f'    ... and {len(problems) - len(shown)} more', 'dim')
        for mend in dict.fromkeys(problem.mend for problem in shown):
            # what mends it is the same for all of a group, with few exceptions
            fixable = ' (or --fix OUT)' if known.fixable else ''
            self._wrapped('', printable(f'-> {mend}{fixable}'), 'green')

    def _wrapped(self, place: str, text: str, style: str = '') -> None:
        """Write a place and a text, broken at the width of a terminal."""
        start = '    '
        lead = f'{place}: ' if place else ''
        lines = [lead + text] if self._width is None else textwrap.wrap(
            lead + text, self._width - len(start), subsequent_indent='  ',
            break_on_hyphens=False) or ['']
        for number, line in enumerate(lines):
            written = Text(start + line, style)
            if number == 0 and place and line.startswith(place):
                written.stylize('cyan', len(start), len(start) + len(place))
            self._screen.print(written)

    def _show_classes(self, report: Report) -> None:
        """Write the numbers of each class in training against validation."""
        classes = report.statistics.get('classes', [])
        roles = [role for role in ('train', 'val', 'test') if any(role in row for row in classes)]
        totals = {role: max(sum(row[role]['segments'] for row in classes), 1) for role in roles}
        rows = [row for row in classes if any(row[role]['segments'] for role in roles)]
        if not rows or len(roles) < 2:
            return

        def ratio(row: Mapping[str, Any]) -> float:
            shares = sorted(row[role]['segments'] / totals[role] for role in roles[:2])
            return shares[1] / shares[0] if shares[0] else float('inf')

        shown = rows if self._all or len(rows) <= CLASSES else sorted(
            rows, key=ratio, reverse=True)[:CLASSES]
        width = max(5, *(len(row['name']) for row in shown))
        self._screen.print()
        title = 'Segments of each class, and their share'
        self.line(title if len(shown) == len(rows) else
                  f'{title}: the {len(shown)} most different of {len(rows)}', 'bold')
        self.line('  ' + 'class'.ljust(width) + ''.join(role.rjust(17) for role in roles), 'dim')
        for row in shown:
            cells = [f'{row[role]["segments"]:9d} {row[role]["segments"] / totals[role]:6.1%}'
                     for role in roles]
            marked = ratio(row) >= _MARKED
            self.line(f'  {printable(row["name"]).ljust(width)}'
                      f'{"".join(cell.rjust(17) for cell in cells)}'
                      f'{"  *" if marked else ""}')
        if any(map(_is_marked(ratio), shown)):
            self.line(f'  * shares differ by a factor of {_MARKED:.0f} or more', 'dim')

    def _show_summary(self, report: Report) -> None:
        counts = report.counts
        parts = [f'{count} {name}{"s" * (count != 1)}' for name, count in counts.items() if count]
        images = sum(source['images'] for source in report.sources)
        seconds = max(report.seconds, 1e-9)
        pace = '' if report.fast else f', {images / seconds:.0f} images/s'
        what = f'{images} images in {report.seconds:.1f} s{pace}'
        self._screen.print()
        bad = report.exit_status(self._strict)
        text = Text()
        text.append(', '.join(parts) if parts else 'no problems', 'bold red' if bad else
                    'bold green')
        text.append(f' in {what}')
        self._screen.print(text)
        if report.fast:
            self.line('--fast: the content of images and maps was not checked', 'dim')
        if any(len(group) > EXAMPLES for group in report.by_check().values()) and not self._all:
            self.line('--all lists every problem, --json FILE writes them', 'dim')

    def show_repairs(self, lines: Sequence[str], out: Path) -> None:
        """Write what a repaired copy has repaired, and what is left."""
        self._screen.print()
        self.line(f'{out}: a repaired copy', 'bold')
        for line in lines:
            self._wrapped('', printable(line))


def _is_marked(ratio: Any) -> Any:
    return lambda row: ratio(row) >= _MARKED


def _size(size: list[int]) -> str:
    return f'{size[1]}x{size[0]}'


def _place(problem: Problem) -> str:
    """Describe the place of a problem: split, file, image, segment."""
    what = 'annotation' if problem.check.startswith('PAN3') else 'segment'
    ids = [f'{name} {value!r}' for name, value in (
        ('image', problem.image_id), (what, problem.segment_id)) if value is not None]
    if isinstance(problem.image_id, str) and problem.file is not None and (
            problem.file.startswith(problem.image_id)):
        # the name of a semantic image
        ids = ids[1:]
    parts = [problem.split, problem.file or '', f'({", ".join(ids)})' if ids else '']
    return printable(' '.join(part for part in parts if part))
