"""The browser that tests drive does what a person would do, and tells what went wrong."""
import functools
import http.server
import threading

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.slow

PAGE = """<!doctype html><meta name=viewport content="width=device-width">
<style>
 body { margin: 0; font: 16px sans-serif; background: white; }
 @media (prefers-color-scheme: dark) { body { background: black; color: white; } }
 #box { width: 200px; height: 100px; background: rgb(10, 20, 200); }
 #cover { position: absolute; left: 0; top: 300px; width: 90px; height: 60px; background: red; }
 #below { position: absolute; left: 10px; top: 310px; }
</style>
<div id=box></div><input id=field><input id=slider type=range min=0 max=1 step=0.01 value=0.5>
<input id=file type=file hidden><button hidden>Save</button><button id=save>Save</button>
<button id=below>Below</button><div id=cover></div>
<p id=out></p><p id=far style="margin-top: 3000px">Far</p>
<script>
const $ = name => document.getElementById(name), say = text => { $('out').textContent = text; };
$('box').onmousemove = e => say(`at ${e.offsetX},${e.offsetY}`);
$('box').onclick = e => say(`click ${e.isTrusted}`);
$('field').onkeydown = e => { if (e.key === 'Enter') say('entered ' + $('field').value); };
onkeydown = e => { if (e.key === 'ArrowRight') say('right'); };
$('slider').onchange = () => say('slider ' + $('slider').value);
$('file').onchange = async () => {
  const file = $('file').files[0];
  say(`${file.name}: ${await file.text()}`); };
$('far').onclick = () => say('far');
document.onpaste = e => {
  const file = e.clipboardData.files[0];
  say(`pasted ${file.name} ${file.size}`); };
$('save').onclick = () => {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob(['{"a": 1}'])); link.download = 'result.json';
  link.click(); };
</script>"""


@pytest.fixture
def address(tmp_path):
    (tmp_path / 'page.html').write_text(PAGE)
    return (tmp_path / 'page.html').as_uri()


def test_a_person_at_a_page(chromium, address, tmp_path):
    with chromium.open(address, size=(800, 600)) as page:
        page.hover('#box', at=(0.25, 0.5))
        assert page.text('#out') == 'at 50,50'
        page.click('#box')
        assert page.text('#out') == 'click true'
        page.click('#field')
        page.type('Bus 7, ä')
        page.press('Backspace')
        page.press('Enter')
        assert page.text('#out') == 'entered Bus 7,'
        page.evaluate('document.activeElement.blur()')
        page.press('ArrowRight')
        assert page.text('#out') == 'right'
        page.set_slider('#slider', 0.25)
        assert page.text('#out') == 'slider 0.25'
        page.drag('#slider', (0.26, 0.5), (0.98, 0.5))
        assert float(page.text('#out').split()[1]) > 0.9
        page.click('#far')
        assert page.text('#out') == 'far' and page.evaluate('scrollY') > 2000
        (tmp_path / 'a.txt').write_text('text of it')
        page.upload('#file', tmp_path / 'a.txt')
        page.wait_for('document.getElementById("out").textContent == "a.txt: text of it"')
        page.paste(tmp_path / 'a.txt', type='text/plain')
        assert page.text('#out') == 'pasted a.txt 10'
        for _ in range(2):
            saved = page.download(lambda: page.click('button', text='Save'))
            assert saved.name == 'result.json' and saved.read_text() == '{"a": 1}'
        assert page.count('button') == 2
        assert page.errors == [] and page.requests == [address] == [*page.requests]


def test_pictures_at_a_size_and_theme(chromium, address, tmp_path):
    with chromium.open(address, size=(390, 700), phone=True, scale=2, dark=True) as page:
        assert page.evaluate('innerWidth') == 390
        image = cv2.imread(str(page.screenshot(tmp_path / 'phone.png')))
        assert image.shape == (1400, 780, 3)
        assert image[100, 100].tolist() == [200, 20, 10] and not image[100, 700].any()
        page.use_theme(dark=False)
        page.resize((500, 300))
        image = cv2.imread(str(page.screenshot(tmp_path / 'page.png')))
        assert image.shape == (300, 500, 3) and np.all(image[50, 400] == 255)
        whole = cv2.imread(str(page.screenshot(tmp_path / 'whole.png', whole=True)))
        assert whole.shape[0] > 3000 and whole.shape[1] == 500


def test_what_goes_wrong_is_told(chromium, address):
    with chromium.open(address) as page:
        with pytest.raises(RuntimeError, match="'#below' is covered by <div id=\"cover\">"):
            page.click('#below')
        with pytest.raises(RuntimeError, match='nothing is not defined'):
            page.evaluate('nothing.at.all')
        with pytest.raises(TimeoutError, match='(?s)not true in time: 1 > 2.*Below'):
            page.wait_for('1 > 2', timeout=0.2)
        assert page.errors == []
        page.evaluate('setTimeout(() => { throw new Error("thrown later"); })')
        page.evaluate('console.error("said", 7)')
        page.evaluate('new Promise(done => { const i = new Image(); '
                      'i.onerror = done; i.src = "https://example.com/elsewhere.png"; })')
        page.wait_for(lambda: len(page.errors) == 3)
        assert 'thrown later' in page.errors[0] and page.errors[1] == 'said 7'
        assert 'ERR_NAME_NOT_RESOLVED' in page.errors[2]
        assert page.requests_elsewhere == ['https://example.com/elsewhere.png']
    with pytest.raises(RuntimeError, match='ERR_FILE_NOT_FOUND'):
        with chromium.open(address + 'x'):
            pass


def test_pages_of_a_server_are_apart(chromium, address, tmp_path):
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        here = f'http://127.0.0.1:{server.server_port}/page.html'
        with chromium.open(here) as one, chromium.open(here) as other:
            one.evaluate('localStorage.setItem("kept", "1")')
            assert other.evaluate('localStorage.getItem("kept")') is None
            other.evaluate('console.error("only here")')
            other.wait_for(lambda: other.errors)
            assert not [error for error in one.errors if 'favicon' not in error]
            assert one.requests_elsewhere == []
        server.shutdown()
