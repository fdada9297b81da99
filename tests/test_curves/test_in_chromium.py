"""The page in a browser: values under the pointer, zoom, switches, smoothing, axes, phone, dark."""
import re

import numpy as np
import pytest

from mmpanseg.curves.run import CurveOptions, draw_curves
from mmpanseg.curves.smoothing import smooth

from .logs import classes, train, val, write_start

pytestmark = pytest.mark.slow
NAMES = ('one', '<b>two</b>')
STEPS = list(range(10, 101, 10))


def loss(run, step):
    return (run + 1) * 300 / step + step % 20 / 10


@pytest.fixture(scope='module')
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp('page')
    for run in range(2):
        write_start(folder / f'run{run}', '20260101_000000', [
            *(train(step, loss(run, step), epoch=(step - 1) // 20 + 1) for step in STEPS[:5]),
            val(50, 10.0 + run),
            *(train(step, loss(run, step), epoch=(step - 1) // 20 + 1) for step in STEPS[5:]),
            val(100, 30.0 + run)], class_records=[
                classes(50, [10.0, 5.0]), classes(100, [40.0, 20.0])])
    draw_curves([folder / 'run0', folder / 'run1'], CurveOptions(
        folder / 'out', names=NAMES, smoothing=0.0))
    return (folder / 'out/index.html').as_uri()


@pytest.fixture
def page(chromium, address):
    with chromium.open(address, size=(1280, 900)) as opened:
        opened.wait_for('document.querySelector("#chart-loss svg") !== null')
        yield opened
        assert opened.errors == [] and opened.requests_elsewhere == []


def keys(page, chart='loss'):
    """Text of each line's button: name and value."""
    return page.evaluate(
        f'[...document.querySelectorAll("#chart-{chart} .key")].map(e => e.textContent)')


def points(page, chart='loss', kind='line'):
    """Points of the drawn lines, [lines][points, 2], in pixels."""
    paths = page.evaluate(f'[...document.querySelectorAll("#chart-{chart} path.{kind}")]'
                          '.map(e => e.getAttribute("d"))')
    return [np.array([[float(part) for part in pair.split()]
                      for pair in re.split('[ML]', path)[1:]]) for path in paths]


def ticks(page, chart='loss'):
    """Texts of the horizontal axis."""
    return page.evaluate(
        f'[...document.querySelectorAll("#chart-{chart} .axis text")].filter(e => Number('
        'e.getAttribute("y")) === 221 && e.className.baseVal !== "unit").map('
        'e => e.textContent)')


def drawn_text(page, selector):
    """Text of an element of a picture, None without one."""
    return page.evaluate(f'document.querySelector("{selector}")?.textContent')


def choose(page, name, value):
    page.evaluate(f'(() => {{ const e = document.getElementById("{name}"); e.value = "{value}";'
                  ' e.dispatchEvent(new Event("change")); })()')


def test_last_values_and_those_under_the_pointer(page):
    assert keys(page) == [f'one {loss(0, 100):.2f}', f'<b>two</b> {loss(1, 100):.2f}']
    # between 20 and 30 steps, closer to 30; the first point is that of step 10
    first, = (line[0, 0] for line in points(page)[:1])
    last = points(page)[0][-1, 0]
    width = page.evaluate('document.querySelector("#chart-loss .plot").clientWidth')
    page.hover('#chart-loss .plot', at=((first + (last - first) * 17 / 90) / width, 0.4))
    page.wait_for('document.querySelector("#chart-loss .cursor text") !== null')
    assert drawn_text(page, '#chart-loss .cursor text') == 'step 30'
    assert keys(page) == [f'one {loss(0, 30):.2f}', f'<b>two</b> {loss(1, 30):.2f}']
    # all charts follow; scores exist at other steps only
    assert drawn_text(page, '#chart-lr .cursor text') == 'step 30'
    assert all(text.endswith('–') for text in keys(page, 'score-panoptic-pq'))
    page.move(5, 5)
    page.wait_for('document.querySelector("#chart-loss .cursor text") === null')
    assert keys(page)[0] == f'one {loss(0, 100):.2f}'


def test_keys_move_the_cursor(page):
    page.evaluate('document.querySelector("#chart-loss .plot").focus()')
    page.press('ArrowRight')
    page.press('ArrowRight')
    assert drawn_text(page, '#chart-loss .cursor text') == 'step 20'
    page.press('ArrowLeft')
    assert keys(page)[0] == f'one {loss(0, 10):.2f}'


def test_zoom(page):
    before = ticks(page)
    assert before[0] == '0' and before[-1] == '100'
    page.drag('#chart-loss .plot', (0.5, 0.5), (0.7, 0.5))
    page.wait_for('!document.getElementById("unzoom").disabled')
    inside = [float(text) for text in ticks(page)]
    assert 40 <= min(inside) and max(inside) <= 80
    assert ticks(page, 'lr') == ticks(page)  # all charts
    assert page.evaluate('document.getElementById("part").value') == ''
    page.click('#unzoom')
    assert ticks(page) == before
    choose(page, 'part', '0.25')
    assert min(float(text) for text in ticks(page)) >= 75
    page.evaluate('document.querySelector("#chart-loss .plot").dispatchEvent('
                  'new MouseEvent("dblclick"))')
    assert ticks(page) == before


def test_runs_and_lines_are_switched(page):
    assert len(points(page)) == 2
    page.click('.run', text='one')
    assert len(points(page)) == 1 and len(points(page, 'lr')) == 1
    assert page.evaluate('document.querySelector(".run").ariaPressed') == 'false'
    page.click('.run', text='one')
    page.click('#chart-loss .key', text='one')
    assert len(points(page)) == 1 and len(points(page, 'lr')) == 2
    page.click('#chart-loss .key', nth=1)
    assert drawn_text(page, '#chart-loss .nothing') == 'all lines are hidden'


def test_smoothing_is_that_of_the_pictures(page):
    page.set_slider('#smoothing', 0.5)
    assert page.text('#weight') == '0.50'
    values = np.array([loss(0, step) for step in STEPS])
    drawn, raw = points(page)[0][:, 1], points(page, kind='raw')[0][:, 1]
    # pixels are a linear function of values
    slope = (raw[1] - raw[0]) / (values[1] - values[0])
    np.testing.assert_allclose(raw, raw[0] + slope * (values - values[0]), atol=0.3)
    np.testing.assert_allclose(drawn, raw[0] + slope * (smooth(values, 0.5) - values[0]), atol=0.3)
    assert len(points(page, 'score-panoptic-pq', 'raw')) == 0


def test_logarithms(page):
    page.click('#log')
    values = np.log([loss(0, step) for step in STEPS])
    drawn = points(page)[0][:, 1]
    slope = (drawn[1] - drawn[0]) / (values[1] - values[0])
    np.testing.assert_allclose(drawn, drawn[0] + slope * (values - values[0]), atol=0.5)


def test_axes(page):
    choose(page, 'axis', 'epoch')
    assert ticks(page)[-1] == '5'
    assert drawn_text(page, '#chart-loss .unit') == 'epoch'
    choose(page, 'axis', 'time')
    page.evaluate('document.querySelector("#chart-loss .plot").focus()')
    page.press('ArrowRight')
    assert drawn_text(page, '#chart-loss .cursor text') == f'{20 / 3600:.3f} h'


def test_names_are_text(page):
    assert page.count('b b') == 0 and page.text('.run[data-run="1"]') == '<b>two</b>'


def test_themes(page):
    def colors():
        return page.evaluate('[getComputedStyle(document.body).backgroundColor, getComputedStyle('
                             'document.querySelector("#chart-loss path.line")).stroke]')

    light = colors()
    page.click('#theme')
    dark = colors()
    assert light[0] != dark[0] and light[1] == 'rgb(0, 124, 191)' and dark[1] == 'rgb(46, 182, 255)'


def test_phone(chromium, address):
    with chromium.open(address, size=(390, 844)) as page:
        page.wait_for('document.querySelector("#chart-score-panoptic-pq svg") !== null')
        assert page.evaluate('document.documentElement.scrollWidth') <= 390
        assert page.evaluate('[...document.querySelectorAll("figure.chart")].every('
                             'e => e.getBoundingClientRect().right <= 390)')
        assert page.errors == []
