"""The lines that a report ends with on a terminal."""
from mmpanseg.report.records import Summary
from mmpanseg.structures.error_kinds import NO_ERRORS, SEGMENT_TITLES

_SIDES = {'gt': 'ground truth', 'pred': 'predicted'}
_WORST = 3


def closing_lines(summary: Summary) -> list[str]:
    """Write the scores and the most frequent kinds of errors.

    Args:
        summary: complete.
    """
    groups = summary.quality['all']
    text = '  '.join(f'{name} {100 * groups[group]["pq"]:.1f}' for group, name in (
        ('all', 'PQ'), ('things', 'things'), ('stuff', 'stuff')) if groups[group]['n'])
    whole = groups['all']
    lines = [f'{text}  SQ {100 * whole["sq"]:.1f}  RQ {100 * whole["rq"]:.1f}']
    if 'boundary' in summary.quality:
        lines[0] += f'  Boundary PQ {100 * summary.quality["boundary"]["all"]["pq"]:.1f}'
    errors = frequent_errors(summary)
    if errors:
        totals = {side: sum(kinds.values()) - kinds['ignored']
                  for side, kinds in summary.kinds.items()}
        lines.append('most frequent errors: ' + ', '.join(
            f'{SEGMENT_TITLES[kind]} ({number} of {totals[side]} {_SIDES[side]} segments)'
            for side, kind, number in errors))
    return lines


def frequent_errors(summary: Summary, limit: int = _WORST) -> list[tuple[str, str, int]]:
    """List the most frequent kinds of errors: side, kind, number of segments.

    Args:
        summary: complete.
        limit: length of the list.
    """
    errors = [(side, kind, number) for side, kinds in summary.kinds.items()
              for kind, number in kinds.items() if kind not in NO_ERRORS and number]
    return sorted(errors, key=lambda entry: -entry[2])[:limit]
