"""Pages are shared: they name files, not folders."""
import json
from dataclasses import replace

import pytest

from mmpanseg.report.comparison import compare
from mmpanseg.report.comparison_page import write_comparison_page
from mmpanseg.report.page import write_report_page
from mmpanseg.report.records import Summary, write_summary
from mmpanseg.report.short_names import short_sources, without_folders

from .made_records import by_hand, summary_of
from .made_reports import right, write_report

WEIGHTS = '/home/someone/runs/secret/iter_9.pth'


@pytest.mark.parametrize('source, names', [
    (dict(config='/home/a/my.py', checkpoint=WEIGHTS), ['my.py', 'iter_9.pth']),
    (dict(config='m-r50', checkpoint='/c/weights/m-r50.safetensors'), ['m-r50', 'm-r50']),
    (dict(config='runs/m.py', checkpoint='https://host/x/y.pth?key=1#a'), ['m.py', 'y.pth']),
    (dict(predictions='/home/a/preds/', truth=r'C:\data\val.json'), ['preds', 'val.json']),
    (dict(predictions='.', split='a/b'), ['.', 'a/b']), ({}, [])])
def test_sources(source, names):
    assert short_sources(source) == dict(zip(source, names))


@pytest.mark.parametrize('text, short', [
    ('cannot read /home/me/my.data/a.png: broken', 'cannot read a.png: broken'),
    (r"C:\Users\me\x.png, '~/b/y.png' and (/z/w.json)", "x.png, 'y.png' and (w.json)"),
    ('data_root=/srv/data/coco, y=1', 'data_root=coco, y=1'),
    ('https://host/a/b.pth and/or 1 / 2 of x/y', 'https://host/a/b.pth and/or 1 / 2 of x/y')])
def test_sentences(text, short):
    assert without_folders(text) == short


def test_report(tmp_path):
    records = by_hand()
    path = '/home/some one/a.png'
    records[1] = replace(records[1], path=path, name='a.png', note=f'{path} is broken')
    records[2] = replace(records[2], error='/home/someone/map.png has 3 pixels')
    summary = replace(
        summary_of(records), source=dict(config='/home/someone/c.py', checkpoint=WEIGHTS),
        notes=['AP is missing: /home/someone/gt.json is empty'])
    write_summary(tmp_path, summary)
    write_report_page(tmp_path, summary, records)
    page = (tmp_path / 'index.html').read_text()
    assert '/home' not in page
    for name in ('c.py', 'iter_9.pth', '"a.png is broken"', '"map.png has 3', 'missing: gt.json'):
        assert name in page
    # what repeats the run is in the file
    stored = Summary.from_json(json.loads((tmp_path / 'report.json').read_text()))
    assert stored.source == summary.source


def test_comparison(tmp_path):
    a = write_report(tmp_path / 'a', right, source=dict(checkpoint=WEIGHTS))
    b = write_report(tmp_path / 'b', right, source=dict(predictions='/home/someone/p.json'))
    found = compare(a, b, samples=5)
    page = write_comparison_page(
        a, replace(found, notes=['Options differ: x=/home/someone/y for A']), b).read_text()
    assert '/home' not in page
    assert all(name in page for name in ('iter_9.pth', 'p.json', 'x=y for A'))
    assert json.loads((a / 'comparison.json').read_text())['source_a']['checkpoint'] == WEIGHTS
