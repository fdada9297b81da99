"""The page writer: every text is escaped, and nothing but the page's own code runs."""
import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from mmpanseg.pages.gallery import Card, Picture, gallery, gallery_assets
from mmpanseg.pages.page import Markup, address, escape, table, tag, write_page

EVIL = '</title><script>alert("1")</script> \' & ключ 図'


class Read(HTMLParser):
    """Elements with their attributes, and the text of a page."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text = [], ''
        self.feed(text)

    def handle_starttag(self, name, attributes):
        self.elements.append((name, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def test_texts_and_attributes_are_escaped():
    made = tag('p', EVIL, title=EVIL, data_name=EVIL)
    page = Read(made)
    assert page.elements == [('p', {'title': EVIL, 'data-name': EVIL})] and page.text == EVIL
    # an element as the value of an attribute is its text
    assert Read(tag('p', title=tag('b', 'x'))).elements == [('p', {'title': '<b>x</b>'})]


def test_children():
    made = tag('ul', [tag('li', number) for number in (1, 2.5)], None, 'a<b',
               (str(k) for k in 'xy'))
    assert made == '<ul><li>1</li><li>2.5</li>a&lt;bxy</ul>' and isinstance(made, Markup)
    assert tag('option', 'a', selected=True, disabled=False, value=None) == (
        '<option selected>a</option>')
    assert tag('input', type='text') == '<input type="text">'
    assert Read(table(['a', 'n'], [['<i>', 2]], numbers=[1])).text == 'an<i>2'


@pytest.mark.parametrize('make', [
    lambda: tag('script', 'alert(1)'), lambda: tag('style', ''), lambda: tag('p onclick=x'),
    lambda: tag('p', onclick='alert(1)'), lambda: tag('p', attributes={'a="" onload': 1}),
    lambda: tag('p', attributes={'OnLoad': 1})])
def test_code_is_refused(make):
    with pytest.raises(ValueError, match='is no (element|attribute) of a page'):
        make()


@pytest.mark.parametrize('path', [
    'http://a.b/c', '//a.b/c', 'javascript:alert(1)', '/etc/passwd', '../other', 'a/../../b',
    '\\\\host\\x', 'data:text/html,x'])
def test_addresses_stay_in_the_folder(path):
    with pytest.raises(ValueError, match='leads out of the folder'):
        tag('a', 'x', href=path)


def test_addresses_are_encoded():
    assert address('a b/ключ?#top-1/x') == 'a%20b/%D0%BA%D0%BB%D1%8E%D1%87%3F#top-1/x'
    assert address('images/\udcff.png') == 'images/%FF.png'


def test_text_that_no_page_can_hold():
    assert escape('a\udcff\x00\x1bb\n') == 'a\ufffd\ufffd\ufffdb\n'


def test_policy_allows_the_own_script_only(tmp_path):
    script = 'document.title = 1 < 2;'
    write_page(tmp_path / 'new/index.html', EVIL, [tag('p', EVIL)], ['p { color: red }'], [script])
    text = (tmp_path / 'new/index.html').read_text(encoding='utf-8')
    page = Read(text)
    policy = next(a['content'] for n, a in page.elements if 'http-equiv' in a)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy
    assert text.count('<script>') == 1 and f'<script>{script}</script>' in text
    assert not re.findall(r'(?:src|href)="(?!#)[^"]*//', text)
    assert [n for n, _ in page.elements].count('title') == 1
    for wrong in ('</style>', '<!-- x'):
        with pytest.raises(ValueError, match='would end its element'):
            write_page(tmp_path / 'x.html', 'x', [], [wrong])
    assert not (tmp_path / 'x.html').exists()


def test_gallery(tmp_path):
    cards = [Card(f'image-{k}', EVIL, [Picture('original', f'i/{k}.jpg', f'i/{k}s.jpg', (4, 3), [
        'caption'], EVIL, f'i/{k}p.jpg')], 'index', ['text'], [k], dict(void=k / 4))
        for k in range(3)]
    styles, scripts = gallery_assets()
    write_page(tmp_path / 'index.html', 'gallery', gallery(cards, {0: EVIL, 1: 'b', 2: 'c'}, {
        'order:up': 'as it is', 'void:down': 'most void'}), styles, scripts)
    page = Read((tmp_path / 'index.html').read_text(encoding='utf-8'))
    found = [a for n, a in page.elements if n == 'article']
    assert [a['id'] for a in found] == ['image-0', 'image-1', 'image-2']
    assert [a['data-void'] for a in found] == ['0.0', '0.25', '0.5']
    assert {a['data-name'] for a in found} == {EVIL}
    assert [a['href'] for n, a in page.elements if n == 'a' and 'data-panel' in a] == [
        'i/0.jpg', 'i/1.jpg', 'i/2.jpg']
    # the link of a card leads to the card
    links = [a['href'] for n, a in page.elements if n == 'a' and a['href'].startswith('#')]
    assert links == [f'#{a["id"]}' for a in found]
    assert [a.get('value') for n, a in page.elements if n == 'option'] == [
        '', '0', '1', '2', 'order:up', 'void:down']


def test_data_is_no_code(tmp_path):
    """A text that ends an element, or has no character, goes through a page as it is."""
    import json
    content = {EVIL: ['<!--', '</script><script>alert(1)</script>', '\udc80']}
    pieces = json.dumps(content).partition(',')
    write_page(tmp_path / 'a.html', 'title', [], data={'data-a': pieces}, scripts=['let a;'])
    text = (tmp_path / 'a.html').read_text(encoding='utf-8')
    assert text.count('<script') == 2 and text.count('</script>') == 2
    found = re.search('<script type="application/json" id="data-a">(.*?)</script>', text, re.S)
    assert json.loads(found[1]) == content
    with pytest.raises(ValueError, match='is no id'):
        write_page(tmp_path / 'b.html', 'title', [], data={'a b': ['1']})
    assert not (tmp_path / 'b.html').exists()
