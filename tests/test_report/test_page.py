"""The page of a report: its figures are those of the records, and no name is code."""
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from mmpanseg.analysis.lost_segments import REASONS
from mmpanseg.report.page import write_report_page
from mmpanseg.report.page_words import KIND_WORDS, REASON_WORDS, kind_css
from mmpanseg.structures.error_kinds import PIXEL_COLORS, SEGMENT_KINDS, PixelKind

from .made_records import EVIL, NAMES, by_hand, by_rule, image, pair, summary_of, write

VOID = {'meta', 'img', 'br', 'input', 'hr', 'link'}


class Read(HTMLParser):
    """The elements of a page: name, attributes, and the text in each."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, name, attributes):
        element = dict(name=name, text='', **{f'@{key}': value for key, value in attributes})
        self.elements.append(element)
        if name not in VOID:
            self.open.append(element)

    def handle_endtag(self, name):
        assert self.open.pop()['name'] == name

    def handle_data(self, data):
        for element in self.open:
            element['text'] += data

    def find(self, name, **attributes):
        return [element for element in self.elements if element['name'] == name and all(
            element.get(f'@{key.rstrip("_").replace("_", "-")}') == value
            for key, value in attributes.items())]


@pytest.fixture(scope='module')
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp('page')
    write(folder, by_hand())
    return Read((folder / 'index.html').read_text(encoding='utf-8'))


def tiles(page):
    whole = next(element for element in page.find('ul', class_='tiles'))['text']
    return re.findall(r'(PQ(?: things| stuff)?|SQ|RQ|AP|mIoU)(\d+\.\d)', whole)


def test_figures(page):
    # car 0.8 / 2, EVIL 0, road 1.9 / 2
    assert tiles(page) == [('PQ', '45.0'), ('SQ', '58.3'), ('RQ', '50.0'), ('PQ things', '20.0'),
                           ('PQ stuff', '95.0'), ('AP', '31.2'), ('mIoU', '66.0')]


def test_first_chart_counts_the_kinds_of_errors(page):
    texts = [element['text'] for element in page.find('div', class_='side')]
    truth, pixels, predicted, queries = texts[:4]
    assert truth.startswith('Segments of the ground truth3 of 5 are found (60.0 %).')
    assert 'missed1 20.0 %' in truth and 'wrong class1 20.0 %' in truth
    assert predicted.startswith('Predicted segments3 of 5 are right (60.0 %).')
    assert 'invented1 20.0 %' in predicted and 'wrong class1 20.0 %' in predicted
    buttons = {element['@data-filter-kind'] for element in page.find('button')
               if '@data-filter-kind' in element}
    assert buttons == {'gt:missed', 'gt:wrong_class', 'pred:invented', 'pred:wrong_class',
                       'reason:never_proposed', 'reason:other_class'}
    advice = [KIND_WORDS[kind].advice for kind in ('missed', 'wrong_class')]
    assert all(text in truth for text in advice)
    assert 'Of the 2 segments of the ground truth without a match' in queries
    # three images with 3600 right and 1200 missed pixels
    assert 'right 75.0 %' in pixels and 'missed 25.0 %' in pixels


def test_classes_are_in_the_order_of_pq_with_their_kinds(page):
    rows = [element for element in page.find('tr') if '@data-pq' in element]
    assert [(row['@data-name'], float(row['@data-pq']), row['@data-segments']) for row in rows] == [
        ('road', 0.95, '2'), ('car', pytest.approx(0.4), '3'), (EVIL.lower(), 0.0, '0')]
    assert '95.0' in rows[0]['text'] and '50.0' in rows[0]['text']  # IoU of road
    assert '40.0' in rows[1]['text'] and '12.5' in rows[1]['text']  # AP of car
    kinds = [element['@aria-label'] for element in page.find('div', role='img')
             if element.get('@aria-label', '').startswith('car: ')]
    assert kinds == ['car: found 33.3 %, wrong class 33.3 %, missed 33.3 %']


def test_confusions(page):
    cells = {(int(cell['@data-row']), int(cell['@data-column'])): cell['text']
             for cell in page.find('td') if '@data-row' in cell}
    assert cells == {(0, 0): '1', (0, 1): '1', (0, 3): '1', (2, 2): '2', (3, 1): '1'}
    titles = {cell.get('@title') for cell in page.find('td') if '@data-row' in cell}
    assert f'car → {EVIL}: 1 (33.3 % of the row)' in titles
    pairs = page.find('ul', class_='bars pairs')
    assert pairs[0]['text'] == f'car taken for {EVIL}1 33.3 % of car'


def test_charts_of_sizes_and_scores(page):
    hints = [element['text'] for element in page.find('title')][1:]
    assert 'sides of 16 to 32 pixels: 0 of 1 segments found (0.0 %)' in hints
    assert 'sides of 128 to 256 pixels: 0 of 1 segments found (0.0 %)' in hints
    assert 'sides of 32 to 64 pixels: 3 of 3 segments found (100.0 %)' in hints
    assert 'scores 0.9 to 1.0: 3 segments, 100.0 % right, mean score 0.950' in hints
    assert 'scores 0.6 to 0.7: 1 segments, 0.0 % right, mean score 0.650' in hints
    # (3 * 0.05 + 0.65 + 0.85) / 5
    assert any('Expected calibration error 33.0 points, of 5' in element['text']
               for element in page.find('p'))
    assert any(hint.startswith('road: PQ 95.0, SQ 95.0, RQ 100.0') for hint in hints)
    assert not any(hint.startswith(f'{EVIL}: PQ') for hint in hints)  # no match: no SQ


def test_data_of_the_script(page):
    facts, images = (json.loads(page.find('script', id=f'data-{name}')[0]['text'])
                     for name in ('facts', 'images'))
    assert [entry['name'] for entry in facts['classes']] == NAMES
    assert [entry['key'] for entry in facts['kinds']] == list(SEGMENT_KINDS)
    assert images['templates'][0][3] == 'pictures/*_errors.jpg' and len(images['templates']) == 2
    first = images['images'][0]
    # car 0.8 / 1.5, EVIL 0
    assert first[:5] == [0, EVIL, [0.2667, 0.4, 0.3333], [1, 1, 1], [80, 60]]
    missed = [entry for entry in first[7] if facts['kinds'][entry[2]]['key'] == 'missed']
    assert missed == [[0, 0, SEGMENT_KINDS.index('missed'), 500, 0.1, None, [50, 10, 60, 30],
                       'missed, 60% of it is road <b>', list(REASON_WORDS).index('never_proposed'),
                       -1]]
    wrong = [entry for entry in images['images'][1][7]
             if facts['kinds'][entry[2]]['key'] == 'wrong_class']
    assert [(entry[0], entry[1], entry[9]) for entry in wrong] == [(0, 0, 1), (1, 1, 0)]
    assert [entry[8:] for entry in images['images'][2:]] == [
        ['', 'drawn on gray'], ['cannot be read <i>', ''], ['', '']]


def test_evil_names_are_text(page):
    assert [element for element in page.elements if element['name'] == 'img'] == []
    assert page.find('h1')[0]['text'] == f'Report {EVIL}' and page.find('title')[0][
        'text'] == f'Report {EVIL}'
    assert len(page.find('script')) == 3  # two of data, one of code
    assert all(not key.startswith('@on') for element in page.elements for key in element)


def test_policy_allows_only_the_script_of_the_page(page):
    policy = next(element['@content'] for element in page.find('meta')
                  if element.get('@http-equiv') == 'Content-Security-Policy')
    assert "default-src 'none'" in policy and re.search(r"script-src 'sha256-[^']+';", policy)
    assert 'http' not in policy


def test_notes(tmp_path):
    records = by_hand()
    summary = replace(summary_of(records), notes=['<b>one</b>'])
    write_report_page(tmp_path, summary, records)
    notes = [element['text'] for element in Read(
        (tmp_path / 'index.html').read_text(encoding='utf-8')).find('p', class_='note')]
    assert notes[0] == '<b>one</b>' and len(notes) == 2  # and that of browsers without scripts


def test_report_without_scores_queries_or_errors(tmp_path):
    records = [image(0, [entry for entry in pair(1, 2, 1.0, None)], [[2, 1.0, 1, 0, 0]])]
    summary = replace(summary_of(records), reasons=None, pixels={})
    assert summary.calibration is None
    write_report_page(tmp_path, summary, records)
    text = (tmp_path / 'index.html').read_text(encoding='utf-8')
    assert 'What the queries had' not in text and 'Can scores be trusted' not in text
    assert 'No errors.' in text and 'No class is taken for another one.' in text


def test_picture_outside_of_the_folder_is_refused(tmp_path):
    records = [replace(by_hand()[2], pictures=dict(image='../secret.jpg'))]
    with pytest.raises(ValueError, match='leads out of the folder'):
        write_report_page(tmp_path, summary_of(records), records)
    assert not (tmp_path / 'index.html').exists()


def test_number_in_a_name_of_a_picture(tmp_path):
    """A * in a name is no place for the number, and a name without the number stays as it is."""
    pictures = dict(image='pictures/a*b.jpg', errors='pictures/000000/e_000000.jpg')
    records = [image(0, pair(1, 2, 1.0, 0.5), [[2, 1.0, 1, 0, 0]], pictures=pictures)]
    write_report_page(tmp_path, summary_of(records), records)
    page = Read((tmp_path / 'index.html').read_text(encoding='utf-8'))
    images = json.loads(page.find('script', id='data-images')[0]['text'])
    template = images['templates'][images['images'][0][5]]
    assert [entry.replace('*', '000000') for entry in template[:4]] == [
        'pictures/a%2Ab.jpg', '', '', 'pictures/000000/e_000000.jpg']


def test_size_by_image(tmp_path):
    sizes = []
    for number in (200, 400):
        write(tmp_path, by_rule(number))
        sizes.append((tmp_path / 'index.html').stat().st_size)
    assert (sizes[1] - sizes[0]) / 200 < 600


def test_every_kind_has_words_and_a_color():
    assert set(KIND_WORDS) == set(SEGMENT_KINDS) and set(REASON_WORDS) == set(REASONS)
    css = kind_css()
    for kind in ('wrong_class', 'missed', 'invented', 'merged', 'split'):
        color = ' '.join(map(str, PIXEL_COLORS[PixelKind[kind.upper()]]))
        assert f'.mark-{kind} {{ --color: rgb({color}); }}' in css


def test_shares_of_pixels_are_all_or_nothing_only_if_they_are(tmp_path):
    records = [replace(entry, pixels=pixels) for entry, pixels in zip(by_hand(), (
        dict(right=99_999, missed=1), dict(right=600), dict(right=1, missed=2), {}, {}))]
    write(tmp_path, records)
    data = Read((tmp_path / 'index.html').read_text()).find('script', id='data-images')
    shares = [entry[6][:3] for entry in json.loads(data[0]['text'])['images'][:3]]
    assert shares == [[0.9999, 0.0, 0.0001], [1.0, 0.0, 0.0], [0.3333, 0.0, 0.6667]]
