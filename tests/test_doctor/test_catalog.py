"""The catalog of checks, and its table in the documentation."""
import re
from pathlib import Path

from mmpanseg.doctor.catalog import CHECKS

ROOT = Path(__file__).resolve().parents[2]


def test_the_documentation_lists_all_checks():
    rows = [line for line in (ROOT / 'docs/doctor.md').read_text().splitlines()
            if re.match(r'\| PAN\d{3} \|', line)]
    expected = []
    for check in CHECKS.values():
        marks = [word for word, yes in (('fast', check.fast), ('fix', check.fixable)) if yes]
        expected.append(f'| {check.id} | {check.severity.name.lower()} | {check.title} | '
                        f'{check.mend} | {", ".join(marks)} |')
    assert rows == expected


def test_every_check_is_made_somewhere():
    """Its id is in the code that makes it."""
    text = '\n'.join(path.read_text() for path in (ROOT / 'mmpanseg/doctor').rglob('*.py')
                     if path.name not in ('catalog.py', 'startup.py')
                     and path.parent.name != 'fixes')
    assert [check for check in CHECKS if f"'{check}'" not in text] == []
    assert sorted(CHECKS) == list(CHECKS)
