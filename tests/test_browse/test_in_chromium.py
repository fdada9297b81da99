"""The page in a browser: filter, order, viewer, keys, links, and no request to elsewhere."""
import html
import json
import re
import shutil
import subprocess

import pytest
from mmengine.config import Config

from mmpanseg.browse import BrowseOptions, browse

from .small_sets import EVIL, NAMES, dataset_of, panoptic_maps

BROWSER = shutil.which('chromium') or shutil.which('google-chrome') or shutil.which('chrome')

# runs in the page, as its last script; the copy of the page has no policy that forbids it
PROBE = """
<script>
addEventListener('load', () => {
  const found = {}, $ = name => document.getElementById(name);
  const names = () => [...document.querySelectorAll('.card:not([hidden])')].map(
    c => c.dataset.name);
  const press = key => document.body.dispatchEvent(
    new KeyboardEvent('keydown', {key, bubbles: true, cancelable: true}));
  const change = (name, value) => { $(name).value = value; $(name).dispatchEvent(new Event(
    name === 'search' ? 'input' : 'change')); };
  const tail = address => address.split('/').pop();
  found.hash = [location.hash, $('viewer').open, tail($('large').src)];
  if ($('viewer').open) $('close').click();
  found.all = names();
  found.count = $('count').textContent;
  change('filter', '1');
  found.filtered = names();
  change('filter', '');
  change('sort', 'void:down');
  found.void = names();
  change('sort', 'smallest:up');
  found.smallest = names();
  change('sort', 'order:up');
  change('search', 'QUOTED');
  found.searched = names();
  change('search', 'nothing like it');
  found.empty = [names().length, $('empty').hidden];
  change('search', '');
  document.querySelectorAll('figure > a')[1].click();
  found.opened = [$('viewer').open, tail($('large').src), location.hash,
                  $('caption').textContent.includes('crop')];
  press('ArrowRight');
  found.right = [tail($('large').src), location.hash];
  press('ArrowUp');
  found.up = tail($('large').src);
  press('o');
  found.plain = tail($('large').src);
  press('o');
  $('close').click();
  press('j');
  found.stepped = document.querySelector('.card.current').dataset.name;
  $('theme').click();
  const first = getComputedStyle(document.body).backgroundColor;
  $('theme').click();
  found.themes = first !== getComputedStyle(document.body).backgroundColor;
  found.wide = document.documentElement.scrollWidth - innerWidth;
  found.loaded = [...document.images].filter(i => i.complete && i.getAttribute('src')).every(
    i => i.naturalWidth > 0);
  found.requests = performance.getEntriesByType('resource').map(e => e.name).filter(
    name => !name.startsWith('file:'));
  found.alerted = window.alerted === true;
  const made = document.createElement('pre');
  made.id = 'found';
  made.textContent = JSON.stringify(found);
  document.body.append(made);
});
</script>
"""


@pytest.fixture(scope='module')
def page(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp('page')
    browse(Config(dict(train_dataloader=dict(dataset=dataset_of(folder)))),
           BrowseOptions(out, max_side=160), EVIL)
    return out / 'index.html'


def run(page, size, anchor=''):
    """Open a page with the probe; returns what it found."""
    text = page.read_text(encoding='utf-8')
    text, count = re.subn(r'<meta http-equiv="Content-Security-Policy"[^>]*>', '', text)
    assert count == 1
    copy = page.with_name('probed.html')
    copy.write_text(text.replace('</body>', f'{PROBE}</body>'), encoding='utf-8')
    done = subprocess.run(
        [BROWSER, '--headless', '--no-sandbox', '--disable-gpu', f'--window-size={size}',
         '--virtual-time-budget=4000', '--dump-dom', f'{copy.as_uri()}{anchor}'],
        capture_output=True, text=True, timeout=120)
    copy.unlink()
    dom = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.S)
    assert dom, done.stderr[-2000:]
    return json.loads(html.unescape(dom[1]))


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason='no chromium on this machine')
@pytest.mark.parametrize('size', ['1400,900', '500,900'])
def test_page_in_a_browser(page, size):
    found = run(page, size, '#image-000004/draw1')
    maps = panoptic_maps()
    assert found['hash'] == ['#image-000004/draw1', True, '000004_draw1.jpg']
    assert found['all'] == NAMES and found['count'] == '6 images'
    assert set(found['filtered']) >= {NAMES[k] for k, (_, segments) in enumerate(maps) if any(
        s['category_id'] == 2 for s in segments)}
    assert len(found['filtered']) < 6
    assert found['void'] == NAMES[::-1]  # a row more in each image
    smallest = [min(int((ids == s['id']).sum()) for s in segments if not s['iscrowd'])
                for ids, segments in maps]
    assert found['smallest'] == [NAMES[k] for k in sorted(range(6), key=lambda k: smallest[k])]
    assert found['searched'] == [NAMES[1]] and found['empty'] == [0, False]
    assert found['opened'] == [True, '000000_draw1.jpg', '#image-000000/draw1', True]
    assert found['right'] == ['000001_draw1.jpg', '#image-000001/draw1']
    assert found['up'] == '000001_original.jpg'
    assert found['plain'] == '000001_original_plain.jpg'
    assert found['stepped'] == NAMES[2]
    assert found['themes'] and found['wide'] <= 0 and found['loaded']
    assert found['requests'] == [] and not found['alerted']


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason='no chromium on this machine')
def test_policy_of_the_page(page):
    """The script of the page runs under its policy, pictures load, and an added script does not."""
    text = page.read_text(encoding='utf-8')
    copy = page.with_name('added.html')
    copy.write_text(text.replace('</body>', '<script>document.title = "ran"</script></body>'),
                    encoding='utf-8')
    done = subprocess.run(
        [BROWSER, '--headless', '--no-sandbox', '--disable-gpu', '--window-size=900,900',
         '--virtual-time-budget=3000', '--dump-dom', copy.as_uri()],
        capture_output=True, text=True, timeout=120)
    copy.unlink()
    assert '<title>ran</title>' not in done.stdout and 'class="js"' in done.stdout
    assert re.search(r'id="count"[^>]*>6 images<', done.stdout)
