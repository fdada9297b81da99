"""Tables of scores for the log."""
from collections.abc import Sequence

from terminaltables import AsciiTable


def percent(value: float, defined: bool = True) -> str:
    """A score in 0 .. 1 in percent with one decimal, ``-`` where it is not defined."""
    return f'{100 * value:.1f}' if defined else '-'


def make_table(rows: Sequence[Sequence[object]], left: int = 1) -> str:
    """Rows, the first of them headings, as text; all but the ``left`` first columns right."""
    table = AsciiTable([[str(cell) for cell in row] for row in rows])
    table.justify_columns = {column: 'right' for column in range(left, len(rows[0]))}
    return table.table
