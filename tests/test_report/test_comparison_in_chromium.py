"""The page of two models in a browser: filter, order, keys, links, phone, dark."""
import pytest

from mmpanseg.report.comparison import compare
from mmpanseg.report.comparison_page import write_comparison_page

from .made_reports import misses_some, write_report

pytestmark = pytest.mark.slow


def misses_others(number, grid, labels):
    """A bus is missed in every fourth image, and a car in image 5."""
    if number % 4 == 1:
        grid[grid == 3] = 9
    if number == 5:
        grid[grid == 2] = 9


@pytest.fixture(scope='module')
def page_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp('comparison')
    a = write_report(folder / 'a', misses_others, title='one')
    b = write_report(folder / 'b', misses_some, title='other')
    path = write_comparison_page(a, compare(a, b, samples=50), b)
    # the page needs nothing outside of its folder
    (folder / 'b').rename(folder / 'gone')
    return path


NAMES = '[...document.querySelectorAll(".card:not([hidden])")].map(c => c.dataset.name)'


def test_filter_order_keys_and_links(chromium, page_file):
    with chromium.open(page_file.as_uri()) as page:
        assert page.text('h1') == 'Aone against Bother'
        shown = page.evaluate(NAMES)
        assert sorted(shown) == ['0000', '0001', '0003', '0005', '0006', '0009']
        values = page.evaluate('[...document.querySelectorAll(".card")].map('
                               'c => Math.abs(Number(c.dataset.difference)))')
        assert values == sorted(values, reverse=True)
        page.evaluate('const s = document.getElementById("sort"); s.value = "difference:up";'
                      's.dispatchEvent(new Event("change"))')
        losses = page.evaluate('[...document.querySelectorAll(".card")].map('
                               'c => Number(c.dataset.difference))')
        assert losses == sorted(losses) and losses[0] < 0 < losses[-1]
        # buses: missed by A in 1, 5 and 9, taken for a car by B in 5
        page.evaluate('const f = document.getElementById("filter");'
                      'f.value = [...f.options].find(o => o.text === "bus").value;'
                      'f.dispatchEvent(new Event("change"))')
        assert sorted(page.evaluate(NAMES)) == ['0001', '0009']
        page.press('j')
        page.press('Enter')
        page.wait_for('document.getElementById("viewer").open')
        assert page.evaluate('location.hash').endswith('/truth')
        page.press('ArrowDown')
        assert page.evaluate('location.hash').endswith('/prediction-a')
        first = page.evaluate('location.hash')
        page.press('ArrowRight')
        assert page.evaluate('location.hash') != first
        page.press('Escape')
        assert page.errors == [] and page.requests_elsewhere == []
    with chromium.open(f'{page_file.as_uri()}#image-5/errors-b') as page:
        page.wait_for('document.getElementById("viewer").open')
        assert page.evaluate('document.getElementById("large").src').endswith(
            'other/000005_errors.jpg')
        page.wait_for('document.getElementById("large").naturalWidth === 60')


@pytest.mark.parametrize('size, phone', [((1280, 800), False), ((390, 844), True)])
@pytest.mark.parametrize('dark', [False, True])
def test_fits_the_view(chromium, page_file, size, phone, dark):
    with chromium.open(page_file.as_uri(), size=size, phone=phone, dark=dark) as page:
        assert page.evaluate('document.documentElement.scrollWidth') <= size[0]
        # every picture that is shown was found
        page.evaluate('document.querySelectorAll("img").forEach(i => { i.loading = "eager"; })')
        page.wait_for('[...document.querySelectorAll(".card img")].every(i => i.naturalWidth)')
        columns = page.evaluate('getComputedStyle(document.querySelector(".panels"))'
                                '.gridTemplateColumns.split(" ").length')
        assert columns == (2 if phone else 3)
        assert page.errors == []
