"""The page of a report in a browser: filters, order, keys, links, viewer, themes, phones."""
import time

import pytest

from .made_records import EVIL, by_hand, by_rule, write

pytestmark = pytest.mark.slow
NAMES = "[...document.querySelectorAll('#cards .card')].map(c => c.dataset.name)"
STAGE = "[...document.querySelectorAll('#stage img')].map(i => i.src.split('/').pop())"


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp('small')
    write(folder, by_hand(), pictures=True)
    return (folder / 'index.html').as_uri()


@pytest.fixture(scope='module')
def many(tmp_path_factory):
    folder = tmp_path_factory.mktemp('many')
    write(folder, by_rule(66), pictures=True)
    return (folder / 'index.html').as_uri()


def choose(page, name, value):
    page.evaluate(f"""(() => {{ const e = document.getElementById('{name}');
      e.value = {value!r}; e.dispatchEvent(new Event('change')); }})()""")


def place(page):
    return page.evaluate('location.hash')


def test_shares(chromium, small):
    with chromium.open(small) as page:
        assert page.evaluate('[0, 0.0001, 0.1234, 0.996, 0.9999, 1].map(shareText)') == [
            '0.0', '<0.1', '12.3', '99.6', '>99.9', '100.0']


def test_order_and_text(chromium, small):
    with chromium.open(small) as page:
        # worst first; then what has no PQ, and what could not be scored
        assert page.evaluate(NAMES) == [EVIL, '0001.jpg',
                                        '0002.jpg', '0003.jpg', '0004.jpg']
        choose(page, 'sort', 'pq:down')
        assert page.evaluate(NAMES)[:3] == ['0002.jpg', '0001.jpg', EVIL]
        choose(page, 'sort', 'name:up')
        assert page.evaluate(NAMES) == [EVIL, '0001.jpg', '0002.jpg', '0003.jpg', '0004.jpg']
        choose(page, 'sort', 'order:up')
        card = page.text('#image-000000')
        assert 'PQ 26.7' in card and '1 TP' in card and '1 FN' in card and '1 FP' in card
        assert 'car missed, 60% of it is road <b> truth · 500 px' in card
        assert f'{EVIL} invented predicted · 900 px · score 0.65' in card
        assert page.text('#image-000003 .error') == 'cannot be read <i>'
        assert page.text('#image-000002 .warn') == 'drawn on gray'
        alts = page.evaluate("[...document.images].every(i => i.alt)")
        assert alts and page.evaluate('window.alerted') is None
        assert page.errors == [] and page.requests_elsewhere == []


def test_filters(chromium, small):
    with chromium.open(small) as page:
        choose(page, 'filter-class', '2')
        assert page.evaluate(NAMES) == ['0001.jpg', '0002.jpg']
        assert page.text('#count') == '2 of 5 images' and page.text('#hits') == '4 segments'
        choose(page, 'filter-class', '0')
        choose(page, 'filter-kind', 'gt:missed')
        assert page.evaluate(NAMES) == [EVIL] and page.text('#hits') == '1 segment'
        # one segment must fit all: the missed car is small, the large car is not missed
        choose(page, 'filter-size', '2')
        assert page.evaluate(NAMES) == [] and page.count('#empty') == 1
        choose(page, 'filter-kind', 'any:error')
        assert page.evaluate(NAMES) == ['0001.jpg']
        choose(page, 'filter-size', '0')
        assert page.evaluate(NAMES) == [EVIL]
        page.click('#clear')
        assert page.text('#count') == '5 images' and page.count('#clear') == 0
        choose(page, 'filter-kind', 'reason:other_class')
        assert page.evaluate(NAMES) == ['0001.jpg']
        page.click('#clear')
        page.click('#search')
        page.type('ONERROR')
        assert page.evaluate(NAMES) == [EVIL]
        assert page.errors == []


def test_charts_filter(chromium, small):
    with chromium.open(small) as page:
        page.click('[data-filter-kind="pred:invented"]')
        assert page.evaluate(NAMES) == [EVIL]
        assert page.evaluate("document.getElementById('filter-kind').value") == 'pred:invented'
        # a confusion: the pair, with all its segments, and no other filter
        page.click('.pairs button')
        assert page.evaluate(NAMES) == ['0001.jpg']
        assert page.text('#pair') == f'car → {EVIL} ×'
        page.click('#pair')
        assert page.text('#count') == '5 images'
        page.click('td[data-row="0"][data-column="3"]')
        assert page.evaluate(NAMES) == [EVIL] and page.text('#pair') == 'car → missed ×'
        page.click('td[data-row="3"][data-column="1"]')
        assert page.evaluate(NAMES) == [EVIL] and page.text('#pair') == 'invented → ' + EVIL + ' ×'
        page.click('[data-filter-class="2"]')
        assert page.evaluate(NAMES) == ['0001.jpg', '0002.jpg']
        assert page.errors == []


def test_table_of_classes_is_sorted(chromium, small):
    rows = "[...document.querySelectorAll('#classes tbody tr')].map(r => r.dataset.segments)"
    with chromium.open(small) as page:
        assert page.evaluate(rows) == ['2', '3', '0']
        page.click('.column-segments button')
        assert page.evaluate(rows) == ['3', '2', '0']
        page.click('.column-segments button')
        assert page.evaluate(rows) == ['0', '2', '3']
        assert page.evaluate(
            "document.querySelector('.column-segments').ariaSort") == 'ascending'


def test_pages_links_and_keys(chromium, many):
    with chromium.open(f'{many}#image-000033') as page:
        # worst first; images with one missed car and no invented segment have the best PQ
        assert page.count('#cards .card') <= 20
        assert page.evaluate("document.querySelector('.current').id") == 'image-000033'
        assert page.evaluate("document.activeElement.id") == 'image-000033'
        order = page.evaluate('state.list.map(image => image.id)')
        at = order.index('image-000033')
        page.press('j')
        assert place(page) == f'#{order[at + 1]}'
        page.press('k')
        page.press('k')
        assert place(page) == f'#{order[at - 1]}'
        first = page.text('.where')
        page.click('.pager button', text='next →')
        assert page.text('.where') != first
        # a filter that hides the image of a link is given up
        choose(page, 'filter-class', '1')
        assert page.text('#count') == '22 of 66 images'
        page.go(f'{many}#image-000034')
        page.wait_for("document.querySelector('.current')?.id == 'image-000034'")
        assert page.text('#count') == '66 images'
        # one that does not is kept
        choose(page, 'filter-class', '1')
        page.go(f'{many}#image-000063')
        page.wait_for("document.querySelector('.current')?.id == 'image-000063'")
        assert page.text('#count') == '22 of 66 images'
        assert page.errors == []


def test_viewer(chromium, many):
    with chromium.open(f'{many}#image-000012/all') as page:
        assert page.evaluate("document.getElementById('viewer').open")
        assert page.evaluate(STAGE) == [f'000012_{name}.jpg' for name in (
            'image', 'prediction', 'truth', 'errors')]
        page.press('4')
        assert page.evaluate(STAGE) == ['000012_errors.jpg']
        assert place(page) == '#image-000012/errors'
        order = page.evaluate('state.list.map(image => image.id)')
        following = order[order.index('image-000012') + 1]
        page.press('ArrowRight')
        assert page.evaluate(STAGE) == [f'{following[-6:]}_errors.jpg']
        page.click('#before')
        page.press('a')
        # down and up choose segments: outlined in all panels, at the same place of the image
        page.press('ArrowDown')
        boxes = "[...document.querySelectorAll('#stage rect.front')].map(r => +r.getAttribute('x'))"
        assert page.evaluate(boxes) == [10] * 4
        assert page.count('#listed [aria-pressed=true]') == 1
        page.press('0')
        assert page.evaluate(boxes) == []
        page.press('+')
        assert 'scale(1.5)' in page.evaluate(
            "document.querySelector('.inner').style.transform")
        page.press('0')
        page.press('Escape')
        page.wait_for("location.hash === '#image-000012'")
        assert not page.evaluate("document.getElementById('viewer').open")
        page.press('Enter')
        page.wait_for("document.getElementById('viewer').open")
        page.click('#close')
        page.wait_for("location.hash === '#image-000012'")
        # a click on a picture, and on a segment
        page.click('#image-000012 a[data-panel=prediction]')
        assert page.evaluate(STAGE) == ['000012_prediction.jpg']
        page.click('#close')
        page.wait_for("location.hash === '#image-000012'")
        page.click('#image-000012 [data-segment]')
        assert len(page.evaluate(STAGE)) == 4 and len(page.evaluate(boxes)) == 4
        assert page.errors == [] and page.requests_elsewhere == []


def test_outline_lies_on_the_segment_when_zoomed(chromium, many):
    """The box of a segment, in pixels of the screen, is where its pixels are drawn."""
    with chromium.open(f'{many}#image-000012/all') as page:
        page.press('ArrowDown')
        found = page.evaluate("""(() => {
          const pane = document.querySelector('.pane'), image = pane.querySelector('img');
          const outer = image.getBoundingClientRect();
          const box = pane.querySelector('rect.front').getBoundingClientRect();
          // object-fit: contain of an image of 80 x 60
          const fit = Math.min(outer.width / 80, outer.height / 60);
          const x = outer.x + (outer.width - 80 * fit) / 2;
          const y = outer.y + (outer.height - 60 * fit) / 2;
          return [(box.x - x) / fit, (box.y - y) / fit, box.width / fit, box.height / fit]; })()""")
        assert found == pytest.approx([10, 20, 30, 30], abs=0.05)


@pytest.mark.parametrize('dark', [False, True])
def test_dark_and_light(chromium, small, dark):
    color = 'getComputedStyle(document.body).backgroundColor'
    with chromium.open(small, dark=dark) as page:
        light = [int(part) for part in page.evaluate(color)[4:-1].split(',')]
        assert (sum(light) < 384) == dark
        page.click('#theme')
        other = [int(part) for part in page.evaluate(color)[4:-1].split(',')]
        assert (sum(other) < 384) != dark


def test_phone(chromium, small):
    with chromium.open(small, size=(400, 800), phone=True) as page:
        assert page.evaluate('document.documentElement.scrollWidth') <= 400
        page.click('#image-000001 a[data-panel=errors]')
        assert page.evaluate("""[...document.querySelectorAll('#viewer .bar button')].every(b => {
          const r = b.getBoundingClientRect(); return r.right <= innerWidth && r.left >= 0; })""")
        assert page.evaluate("document.getElementById('stage').clientHeight") > 300
        # a swipe goes to the next image
        page.evaluate("""(() => { const s = document.getElementById('stage');
          s.setPointerCapture = () => {};
          const send = (name, x) => s.querySelector('.pane').dispatchEvent(new PointerEvent(name, {
            clientX: x, clientY: 200, pointerType: 'touch', pointerId: 5, bubbles: true}));
          send('pointerdown', 300); send('pointermove', 150); send('pointerup', 150); })()""")
        assert page.text('#shown-name') == '0002.jpg'
        assert page.errors == []


def test_added_script_does_not_run(chromium, small, tmp_path):
    """The policy of the page is in force: another script in it is refused."""
    from urllib.parse import unquote, urlparse
    source = unquote(urlparse(small).path)
    text = open(source, encoding='utf-8').read()
    changed = tmp_path / 'index.html'
    changed.write_text(text.replace('</body>', '<script>window.ran = 1</script></body>'),
                       encoding='utf-8')
    with chromium.open(changed.as_uri()) as page:
        assert page.evaluate('window.ran') is None
        assert page.text('#count') == '5 images'


def test_5000_images(chromium, tmp_path):
    """As many as COCO's validation images: few cards in the page, an answer while one types."""
    write(tmp_path, by_rule(5000))
    with chromium.open((tmp_path / 'index.html').as_uri()) as page:
        assert page.text('#count') == '5,000 images' and page.text('.where') == '1–20 of 5,000'
        assert page.count('#cards .card') == 20
        assert page.evaluate("document.querySelectorAll('*').length") < 3000
        start = time.perf_counter()
        choose(page, 'filter-class', '1')
        assert page.text('#count') == '1,667 of 5,000 images'
        assert page.text('#hits') == '1,667 segments'
        page.go(f'{(tmp_path / "index.html").as_uri()}#image-004998')
        page.wait_for("document.querySelector('.current')?.id == 'image-004998'")
        print(f'filter and link: {time.perf_counter() - start:.2f} s')
