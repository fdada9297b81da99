"""Charts: lengths, positions and colors against values by hand; names that do not overlap."""
import re

import numpy as np
import pytest

from mmpanseg.pages.charts import (
    Bar,
    Part,
    Point,
    bars,
    percent,
    recall_by_size,
    reliability,
    scatter,
    stacked_bar,
)
from mmpanseg.pages.matrix import confused_classes, largest_confusions, matrix

EVIL = '<script>"&'


def numbers(name, text):
    return [float(value) for value in re.findall(rf'{name}[=:]\s?"?(-?[\d.]+)', text)]


def test_bars():
    made = bars([Bar('a', 4, '4'), Bar(EVIL, 1, '1', 'series-2', 'note'), Bar('c', 0, '0')])
    assert numbers('width', made) == [100, 25, 0]
    assert '<script' not in made and '<small>note</small>' in made and 'series-2' in made
    assert numbers('width', bars([Bar('a', 4, '4')], limit=8)) == [50]
    assert numbers('width', bars([Bar('a', 0, '0')])) == [0]


def test_stacked_bar():
    made = stacked_bar([Part('found', 6), Part(EVIL, 2, 'rgb(1 2 3)'), Part('none', 0)],
                       label='car')
    assert numbers('width', made) == [75, 25]
    assert 'aria-label="car: found 75.0 %, &lt;script&gt;&quot;&amp; 25.0 %"' in made
    assert numbers('width', stacked_bar([Part('a', 1)], total=4)) == [25]
    assert numbers('width', stacked_bar([])) == []


@pytest.mark.parametrize(('share', 'text'), [
    (0, '0.0 %'), (0.1234, '12.3 %'), (1, '100.0 %'), (0.0004, '<0.1 %'), (0.0006, '0.1 %'),
    (0.996, '99.6 %'), (0.9994, '99.9 %'), (0.9996, '>99.9 %')])
def test_percent(share, text):
    assert percent(share) == text


@pytest.mark.parametrize(('share', 'text'), [
    (0, '0 %'), (0.996, '>99 %'), (0.994, '99 %'), (1, '100 %'), (0.004, '<1 %')])
def test_percent_without_decimals(share, text):
    assert percent(share, 0) == text


def test_scatter():
    points = [Point('a', 0.5, 0.9), Point(EVIL, 1.0, 1.0, 1, 'hint')]
    made = scatter(points, 'RQ', 'SQ', 'label', {0.25: 'PQ 0.25'}, size=(448 + 14, 374))
    # x from 48 to 448, y (0.8 .. 1) from 330 to 30
    assert '<circle cx="248" cy="180" r="5"' in made
    assert '<rect x="443.5" y="25.5" width="9" height="9"' in made and '<title>hint</title>' in made
    assert '<script' not in made and 'PQ 0.25' in made
    guide = re.search('points="([^"]*)"', made)[1]
    for place in guide.split():
        x, y = (float(value) for value in place.split(','))
        # of positions with two digits
        assert (x - 48) / 400 * (0.8 + (330 - y) / 300 * 0.2) == pytest.approx(0.25, abs=1e-4)
    assert 'svg' in scatter([], 'x', 'y', 'empty')


def test_names_of_points_do_not_overlap():
    rng = np.random.default_rng(0)
    points = [Point(f'name {k}', x, y, weight=k)
              for k, (x, y) in enumerate(rng.uniform(0.8, 1, (80, 2)))]
    made = scatter(points, 'x', 'y', 'label')
    boxes = []
    for x, y, anchor, name in re.findall(
            r'<text x="([\d.]+)" y="([\d.]+)"(?: text-anchor="(\w+)")? class="label"[^>]*>(.*?)<',
            made):
        # characters of 12.5 pixels are narrower than 7
        width = 6.5 * len(name)
        left = float(x) - {'': 0, 'middle': width / 2, 'end': width}[anchor]
        boxes.append((left, float(y) - 10, left + width, float(y) + 2))
    assert 5 < len(boxes) < 80
    for k, a in enumerate(boxes):
        for b in boxes[:k]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def test_reliability():
    bins = [dict(low=0.0, high=0.5, n=0, score=None, right=None),
            dict(low=0.5, high=1.0, n=8, score=0.75, right=0.25)]
    made = reliability(bins, 'label', size=(462, 412))
    # x from 48 to 448, y from 330 (0) to 30 (1)
    assert '<rect x="249" y="255" width="198" height="75" class="mark">' in made
    assert '<rect x="249" y="105" width="198" height="150" class="gap">' in made
    assert made.count('class="mark"') == 1
    assert '8 segments, 25.0 % right, mean score 0.750' in made
    bins[1]['right'] = 1.0
    assert 'class="gap low"' in reliability(bins, 'label')


def test_recall_by_size():
    bins = [dict(low=0, high=64, n=0, found=0), dict(low=64, high=256, n=4, found=1),
            dict(low=256, high=None, n=2, found=2)]
    made = recall_by_size(bins, 'label', {144: 'medium'}, size=(362, 318))
    # bins of 100 pixels from 48; y from 256 (0) to 56 (1)
    assert '<rect x="151" y="206" width="94" height="50" class="mark">' in made
    assert '<rect x="251" y="56" width="94" height="200" class="mark">' in made
    assert 'sides of 8 to 16 pixels: 1 of 4 segments found (25.0 %)' in made
    assert 'sides of 16 pixels and more: 2 of 2 segments found (100.0 %)' in made
    assert re.findall('class="label">([^<]*)<', made) == ['25', '100']
    # side 12 is log(12 / 8) / log(16 / 8) between the borders 8 and 16
    assert numbers('x1', made)[-1] == pytest.approx(148 + 100 * np.log2(1.5), abs=0.01)


def test_recall_is_100_only_if_all_are_found():
    bins = [dict(low=0, high=64, n=1000, found=996), dict(low=64, high=256, n=1000, found=4),
            dict(low=256, high=1024, n=9999, found=9998), dict(low=1024, high=None, n=4, found=0)]
    made = recall_by_size(bins, 'label')
    assert re.findall('class="label">([^<]*)<', made) == ['99.6', '0.4', '&gt;99.9', '0']
    assert '9,998 of 9,999 segments found (&gt;99.9 %)' in made


def counts_of(seed=0, size=12):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 40, (size, size)) * (rng.random((size, size)) < 0.4)
    counts[-1, -1] = 0
    return counts


def test_largest_confusions():
    counts = counts_of()
    # slowly: all pairs of two classes, without the last row and column
    pairs = sorted(((int(counts[a, b]), -a, -b) for a in range(11) for b in range(11)
                    if a != b and counts[a, b]), reverse=True)
    found = largest_confusions(counts, 7)
    assert [(pair.number, -pair.row, -pair.column) for pair in found] == pairs[:7]
    assert found[0].share == counts[found[0].row, found[0].column] / counts[found[0].row].sum()
    assert largest_confusions(np.diag([3, 4, 0]), 5) == []


def test_classes_of_a_small_matrix():
    counts = np.zeros((7, 7), int)
    counts[1, 4], counts[4, 2], counts[0, 0], counts[3, 6] = 9, 5, 100, 1
    assert confused_classes(counts, 2) == [1, 4]
    assert confused_classes(counts, 3) == [1, 2, 4]
    # then the frequent ones; class 5 has nothing
    assert confused_classes(counts, 4) == [0, 1, 2, 4]
    assert confused_classes(counts, 9) == [0, 1, 2, 3, 4]


def test_matrix():
    counts = np.array([[3, 1, 0, 0], [0, 12000, 0, 4], [0, 0, 0, 0], [0, 2, 0, 0]])
    rows, columns = ['a', EVIL, 'c', 'invented'], ['a', EVIL, 'c', 'missed']
    made = matrix(counts, rows, columns)
    cells = dict(re.findall(r'data-row="(\d+" data-column="\d+)"[^>]*>([^<]*)<', made))
    assert {tuple(map(int, re.findall(r'\d+', key))): text for key, text in cells.items()} == {
        (0, 0): '3', (0, 1): '1', (1, 1): '12k', (1, 3): '4', (3, 1): '2'}
    assert '<script' not in made and '>c<' not in made  # without a case
    assert 'a → a: 3 (75.0 % of the row)' in made
    # darker with the share of the row, also of columns that are not shown
    assert numbers('--share', matrix(counts, rows, columns, [0]))[0] == pytest.approx(
        0.07 + 0.48 * 0.75 ** 0.7, abs=0.005)
