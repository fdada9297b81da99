"""Bars of differences with intervals: lengths, colors, texts."""
import re

import pytest

from mmpanseg.pages.interval_chart import Interval, interval_chart, interval_color

ROWS = [Interval('PQ', 2.0, 1.0, 3.0, 'a hint'), Interval('worse', -4.0, -8.0, -1.0),
        Interval('unclear <b>', 0.5, -1.0, 2.0)]


def numbers(markup: str, element: str, kind: str) -> list[dict]:
    return [dict(re.findall(r'([\w-]+)="([^"]*)"', found)) for found in re.findall(
        f'<{element} [^>]*class="{kind}[^"]*"[^>]*>', markup)]


def test_positions_are_proportional():
    markup = interval_chart(ROWS, 'differences')
    bars = numbers(markup, 'rect', 'mark')
    lines = numbers(markup, 'line', 'interval')[::3]
    zero = float(bars[0]['x'])
    unit = float(bars[0]['width']) / 2
    assert float(bars[1]['x']) == pytest.approx(zero - 4 * unit, abs=0.02)
    assert float(bars[1]['width']) == pytest.approx(4 * unit, abs=0.02)
    for line, row in zip(lines, ROWS):
        assert float(line['x1']) == pytest.approx(zero + row.low * unit, abs=0.02)
        assert float(line['x2']) == pytest.approx(zero + row.high * unit, abs=0.02)


def test_colors_and_texts():
    markup = interval_chart(ROWS, 'differences')
    assert [bar['class'].split()[1] for bar in numbers(markup, 'rect', 'mark')] == [
        'series-2', 'series-1', 'series-6']
    assert 'aria-label="differences"' in markup and '<title>a hint</title>' in markup
    assert '+2.0' in markup and '−4.0' in markup and 'unclear &lt;b&gt;' in markup


@pytest.mark.parametrize('low, high, color', [
    (0.1, 2, 'series-2'), (0, 2, 'series-6'), (-2, 0, 'series-6'), (-2, -1, 'series-1')])
def test_an_interval_with_zero_is_unclear(low, high, color):
    assert interval_color(low, high) == color


def test_no_difference_has_a_scale():
    markup = interval_chart([Interval('same', 0, 0, 0)], 'none')
    assert float(numbers(markup, 'rect', 'mark')[0]['width']) == 0
    assert 'NaN' not in markup


def test_long_names_are_shortened():
    markup = interval_chart([Interval('a' * 80, 1, 0.5, 2)], 'long')
    assert 'a' * 25 + '…' in markup and 'a' * 26 not in markup


def test_a_tiny_difference_is_written_as_none():
    assert '>0<' in interval_chart([Interval('same', -0.0006, -1, 1)], 'tiny').split('</g>')[-2]
