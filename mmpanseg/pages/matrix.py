"""Confusion matrices of a page: a table of counts whose cells are colored by their share of a row.

A matrix of many classes is shown with those that are confused most, and as a whole on demand.
"""
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmpanseg.pages.page import Markup, tag


class Confused(NamedTuple):
    """Two different classes that are taken for each other.

    Attributes:
        row: true class; R - 1 of the last row.
        column: predicted class.
        number: of cases.
        share: of the cases of the row, in 0 .. 1.
    """

    row: int
    column: int
    number: int
    share: float


def largest_confusions(counts: np.ndarray, number: int) -> list[Confused]:
    """Find the pairs of classes that are confused most often.

    Args:
        counts: integers [C + 1, C + 1]: true class by predicted class; what is missed is in the
            last column, what is invented in the last row. Neither is in the result.
        number: of pairs at most.

    Returns:
        pairs with the most cases first.
    """
    inner = counts[:-1, :-1].copy()
    np.fill_diagonal(inner, 0)
    totals = counts.sum(1)
    order = np.argsort(-inner, axis=None, kind='stable')[:number]
    pairs = [divmod(int(place), inner.shape[1]) for place in order]
    return [Confused(row, column, int(inner[row, column]),
                     float(inner[row, column] / totals[row]))
            for row, column in pairs if inner[row, column]]


def confused_classes(counts: np.ndarray, number: int) -> list[int]:
    """Choose the classes of a small matrix: first those that are confused most.

    Where there is space, the most frequent other classes follow.

    Args:
        counts: see :func:`largest_confusions`.
        number: of classes at most.

    Returns:
        labels in their order.
    """
    chosen: dict[int, None] = {}
    for pair in largest_confusions(counts, counts.size):
        if len(chosen.keys() | {pair.row, pair.column}) <= number:
            chosen.update({pair.row: None, pair.column: None})
    frequency = counts[:-1].sum(1) + counts[:, :-1].sum(0)
    for label in np.argsort(-frequency, kind='stable').tolist():
        if len(chosen) < number and frequency[label]:
            chosen[label] = None
    return sorted(chosen)


def matrix(counts: np.ndarray, rows: Sequence[str], columns: Sequence[str],
           labels: Sequence[int] | None = None) -> Markup:
    """Create the table of a confusion matrix.

    The color of a cell is its share of the whole row, also of the columns that are not shown. The
    cells have ``data-row`` and ``data-column``, the numbers of their row and column.

    Args:
        counts: integers [C + 1, C + 1], see :func:`largest_confusions`.
        rows: C + 1 names.
        columns: C + 1 names.
        labels: classes to show; None: all with a case.
    """
    last = len(counts) - 1
    totals = counts.sum(1)
    if labels is None:
        labels = [label for label in range(last)
                  if totals[label] or counts[:, label].any()]
    places = [*labels, last]
    head = tag('tr', tag('td', tag('span', 'true class', class_='soft'), class_='corner'), [
        tag('th', tag('span', columns[place]), scope='col',
            class_='rest' if place == last else None) for place in places])
    body = []
    for row in places:
        cells = [_cell(row, column, int(counts[row, column]), int(totals[row]), last, rows, columns)
                 for column in places]
        body.append(tag('tr', tag('th', rows[row], scope='row'), cells,
                        class_='rest' if row == last else None))
    return tag('div', tag('table', tag('thead', head), tag('tbody', body), class_='matrix'),
               class_='scroll', attributes={'tabindex': 0, 'role': 'region',
                                            'aria-label': 'confusion matrix'})


def _cell(row: int, column: int, number: int, total: int, last: int, rows: Sequence[str],
          columns: Sequence[str]) -> Markup:
    if not number:
        return tag('td')
    share = number / total
    title = f'{rows[row]} → {columns[column]}: {number:,} ({100 * share:.1f} % of the row)'
    kind = 'right' if row == column else 'rest' if last in (row, column) else 'wrong'
    # small shares are still seen, and the number can be read on the largest
    strength = 0.07 + 0.48 * share ** 0.7
    return tag('td', _short(number), title=title,
               class_=kind, attributes={
                   'style': f'--share: {strength:.2f}', 'data-row': row, 'data-column': column})


def _short(number: int) -> str:
    if number < 1000:
        return str(number)
    return f'{number / 1000:.1f}k' if number < 9950 else f'{number / 1000:.0f}k'
