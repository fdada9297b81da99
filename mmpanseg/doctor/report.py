"""All problems of a data set, grouped and counted."""
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from mmpanseg.doctor.catalog import CHECKS
from mmpanseg.doctor.problem import Problem, Severity


@dataclass
class Report:
    """Result of :func:`mmpanseg.doctor.run_doctor`.

    Attributes:
        problems: worst first, then by id, split and place in the data set.
        sources: description of each source.
        statistics: summary of the images: counts, sizes, classes.
        seconds: duration.
        fast: only JSON and file names were checked.
    """

    problems: list[Problem] = field(default_factory=list)
    sources: list[dict[str, Any]] = field(default_factory=list)
    statistics: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.
    fast: bool = False

    @property
    def counts(self) -> dict[str, int]:
        """Number of problems by severity: 'error', 'warning', 'note'."""
        found = Counter(problem.severity for problem in self.problems)
        return {severity.name.lower(): found[severity] for severity in sorted(Severity)[::-1]}

    def exit_status(self, strict: bool = False) -> int:
        """Return 1 for errors, with ``strict`` also for warnings, otherwise 0."""
        counts = self.counts
        return int(bool(counts['error'] or strict and counts['warning']))

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON content."""
        return dict(
            fast=self.fast, seconds=round(self.seconds, 2), counts=self.counts,
            sources=self.sources, statistics=self.statistics,
            checks={check: CHECKS[check].title for check in self.by_check()},
            problems=[dict(problem._asdict(), severity=problem.severity.name.lower())
                      for problem in self.problems])

    def by_check(self) -> dict[str, list[Problem]]:
        """Group the problems by their check, worst first."""
        groups: dict[str, list[Problem]] = {}
        for problem in self.problems:
            groups.setdefault(problem.check, []).append(problem)
        return groups


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Sort problems: worst first, then by check; their places keep their order."""
    return sorted(problems, key=lambda problem: (-problem.severity, problem.check))
