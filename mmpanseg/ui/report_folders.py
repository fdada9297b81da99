"""Folders of reports whose files the page shows."""
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmpanseg.engine.command_line import UsageError

# the kinds of files that reports have; others are not sent
TYPES = {'.html': 'text/html', '.css': 'text/css', '.js': 'text/javascript',
         '.json': 'application/json', '.jsonl': 'application/x-ndjson', '.svg': 'image/svg+xml',
         '.png': 'image/png', '.jpg': 'image/jpeg', '.jpeg': 'image/jpeg', '.webp': 'image/webp',
         '.csv': 'text/csv', '.txt': 'text/plain', '.md': 'text/plain'}
PAGES = ('index.html', 'compare.html')


@dataclass(frozen=True)
class ReportFolder:
    """A folder with a page.

    Attributes:
        key: part of its address.
        title: what the list of reports shows.
        path: of the folder, resolved.
    """
    key: str
    title: str
    path: Path


class ReportFolders:
    """The reports of the second tab, read-only.

    Args:
        reports: folders of single reports.
        parents: folders whose subfolders are searched for reports, at each look.

    Raises:
        UsageError: there is no such folder, or it has no page.
    """

    def __init__(self, reports: Sequence[str | Path] = (),
                 parents: Sequence[str | Path] = ()) -> None:
        self._reports = [Path(report).expanduser().resolve() for report in reports]
        self._parents = [Path(parent).expanduser().resolve() for parent in parents]
        for given, path in zip(reports, self._reports):
            if not (path / PAGES[0]).is_file():
                raise UsageError(f'--report {given} has no {PAGES[0]}: give a folder that '
                                 '`mmpanseg report` wrote')
        for given, path in zip(parents, self._parents):
            if not path.is_dir():
                raise UsageError(f'--reports {given} is no folder')

    def list(self) -> list[ReportFolder]:
        """List the reports that there are now."""
        found = [ReportFolder(f'r{number}', path.name, path)
                 for number, path in enumerate(self._reports)]
        for number, parent in enumerate(self._parents):
            pages = sorted(page.parent for depth in ('*', '*/*')
                           for page in parent.glob(f'{depth}/{PAGES[0]}'))
            found += [ReportFolder(f'p{number}-{folder.relative_to(parent).as_posix()}'.replace(
                '/', '~'), folder.relative_to(parent).as_posix(), folder.resolve())
                for folder in pages if folder.resolve().is_relative_to(parent)]
        return found

    def file(self, key: str, path: str) -> tuple[Path, str]:
        """Find a file of a report.

        Args:
            key: of the report.
            path: of the file, relative to the folder; '' for its page.

        Returns:
            the path, and its media type.

        Raises:
            FileNotFoundError: there is no such report or file, it is outside of the folder, or not
                of a kind that reports have.
        """
        folder = next((one.path for one in self.list() if one.key == key), None)
        if folder is None or '\x00' in path:
            raise FileNotFoundError(path)
        file = (folder / (path or PAGES[0])).resolve()
        hidden = any(part.startswith('.') for part in Path(path).parts)
        if (hidden or not file.is_relative_to(folder) or not file.is_file()
                or file.suffix.lower() not in TYPES):
            raise FileNotFoundError(path)
        return file, TYPES[file.suffix.lower()]
