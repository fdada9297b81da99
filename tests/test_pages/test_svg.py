"""Scales, ticks and shapes: numbers by hand, and every text escaped."""
import math

import numpy as np
import pytest

from mmpanseg.pages.svg import (
    Scale,
    circle,
    frame,
    legend,
    log_ticks,
    nice_range,
    nice_ticks,
    number_text,
    polyline,
    svg,
)

EVIL = '<script>"&'


def test_scale():
    scale = Scale(10, 30, 100, 0)
    assert (scale(10), scale(30), scale(15)) == (100, 0, 75)
    log = Scale(1, 100, 0, 10, log=True)
    assert log(10) == pytest.approx(5) and log(1000) == pytest.approx(15)
    np.testing.assert_allclose([log(value) for value in (2, 50)],
                               np.interp(np.log([2, 50]), np.log([1, 100]), [0, 10]))


@pytest.mark.parametrize(('values', 'text'), [
    (dict(low=1, high=1), 'no length'), (dict(low=math.nan, high=1), 'no length'),
    (dict(low=0, high=1, log=True), 'contains 0'), (dict(low=0, high=math.inf), 'no length')])
def test_scales_that_convert_nothing(values, text):
    with pytest.raises(ValueError, match=text):
        Scale(start=0, end=1, **values)


@pytest.mark.parametrize(('low', 'high', 'ticks'), [
    (0, 1, [0, .2, .4, .6, .8, 1]), (0, 0.3, [0, .1, .2, .3]), (12, 87, [20, 40, 60, 80]),
    (-3, 3, [-2, 0, 2]), (0, 90000, [0, 20000, 40000, 60000, 80000]),
    (0.001, 0.0017, [0.001, 0.0012, 0.0014, 0.0016])])
def test_ticks(low, high, ticks):
    assert nice_ticks(low, high) == ticks


@pytest.mark.parametrize(('low', 'high', 'ticks'), [
    (1e-5, 1e-1, [1e-5, 1e-4, 1e-3, 1e-2, 1e-1]), (3, 40, [3, 10, 30]), (1, 8, [1, 2, 5]),
    (120, 150, [120, 150])])
def test_logarithmic_ticks(low, high, ticks):
    assert log_ticks(low, high) == ticks


def test_range():
    assert nice_range(0.13, 0.97) == (0, 1) and nice_range(41, 78) == (40, 80)
    low, high = nice_range(5, 5)
    assert low < 5 < high
    assert nice_range(0, 0)[0] < 0 < nice_range(0, 0)[1]


@pytest.mark.parametrize(('value', 'text'), [
    (0, '0'), (0.25, '0.25'), (40, '40'), (1500, '1,500'), (20000, '20k'), (3e6, '3M'),
    (2e-5, '2e-05'), (-0.5, '-0.5'), (2.5e9, '2.5G'), (123456, '123k')])
def test_number(value, text):
    assert number_text(value) == text


def test_numbers_of_an_axis_have_equal_digits():
    assert [number_text(value, 0.25) for value in (0.25, 0.5, 1.0)] == ['0.25', '0.50', '1.00']
    assert number_text(1500, 500) == '1,500' and number_text(3, 1) == '3'


def test_axes():
    axes = frame(200, 100, (0, 10), (0, 1), margins=(10, 20, 30, 40)).axes('steps', 'PQ')
    assert '<text x="180" y="88" text-anchor="middle">10</text>' in axes
    assert '<line x1="40" y1="10" x2="180" y2="10" class="grid"></line>' in axes
    assert '>steps</text>' in axes and '>PQ</text>' in axes


def test_texts_are_escaped():
    made = svg(10, 20, circle(1, 2, 3, EVIL), polyline([(0, 1.234), (2, 3)], EVIL), label=EVIL)
    made += legend([('series-1', EVIL), ('rgb(1 2 3)', 'b')])
    assert '<script' not in made and made.count('&lt;script&gt;&quot;&amp;') == 4
    assert 'viewBox="0 0 10 20"' in made and 'points="0,1.23 2,3"' in made
    assert '<span class="key series-1"></span>' in made
    assert 'style="--color: rgb(1 2 3)"' in made
