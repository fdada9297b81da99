"""Folder, page and pictures of an explanation, and the verb that writes them."""
import importlib
import io
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmpanseg.apis import Predictor
from mmpanseg.explain import explain, write_explanation
from mmpanseg.explain.canvas import Canvas
from mmpanseg.explain.explanation import Look
from mmpanseg.explain.thumbnails import Thumbnails, highlight
from mmpanseg.pages.own_folder import ForeignFilesError
from mmpanseg.utils.messages import messages_to
from mmpanseg.visualization import fonts, text

from ..test_apis.conftest import DATA
from .test_explain import LOW

sys.path.insert(0, str(Path(__file__).parents[1] / 'test_visualization'))
small_fonts = importlib.import_module('small_fonts')


@pytest.fixture(scope='module')
def found(system, pictures):
    predictor = Predictor(*system('mask2former', panoptic_fusion_head=LOW['mask2former']))
    return predictor, explain(predictor, pictures[0], limit=1)


def test_files_page_and_numbers(found, pictures, tmp_path):
    predictor, explanation = found
    folder = tmp_path / 'out'
    page = write_explanation(explanation, folder)
    ids = sorted(one.segment.id for one in explanation.explained)
    assert {path.name for path in folder.iterdir()} == {
        'index.html', 'explanation.json', 'overview.png',
        *(f'segment_{number:03d}{end}.png' for number in ids for end in ('', '_heads'))}
    content = json.loads((folder / 'explanation.json').read_text())
    assert [one['number'] for one in content['segments']] == [
        one.segment.id for one in explanation.listed]
    first, own = content['explained'][0], explanation.explained[0]
    assert (first['query'], first['area'], first['fate']['rule']) == (
        own.query, own.segment.area, 'kept')
    assert [layer['mask_iou'] for layer in first['layers']] == [
        layer.iou for layer in own.layers]
    assert first['layers'][1]['attention'][0]['inside_mask'] == own.layers[1].looks[0].inside
    content = page.read_text()
    for one in explanation.listed:
        assert f'<td class="number">{one.segment.id}</td>' in content
    for number in ids:
        assert f'href="#segment-{number}"' in content and f'id="segment-{number}"' in content
    # a later explanation replaces the earlier one
    other = explain(predictor, pictures[0], [next(
        one.segment.id for one in explanation.listed if one.segment.id not in ids)])
    write_explanation(other, folder)
    number, = (one.segment.id for one in other.explained)
    assert {path.name for path in folder.glob('segment*')} == {
        f'segment_{number:03d}.png', f'segment_{number:03d}_heads.png'}


@pytest.mark.parametrize('names', [['notes.txt'], ['index.html'], ['explanation.json', 'a.png']])
def test_a_folder_of_others_is_refused(found, tmp_path, names):
    for name in names:
        (tmp_path / name).write_text('mine')
    with pytest.raises(ForeignFilesError, match='`mmpanseg explain` did not write'):
        write_explanation(found[1], tmp_path)
    assert all((tmp_path / name).read_text() == 'mine' for name in names)


def test_a_file_is_no_folder(found, tmp_path):
    (tmp_path / 'out').write_text('')
    with pytest.raises(ForeignFilesError, match='out is a file'):
        write_explanation(found[1], tmp_path / 'out')


def test_systems_without_attention_have_no_picture_of_heads(system, pictures, tmp_path):
    predictor = Predictor(*system('kmax_deeplab', panoptic_fusion_head=LOW['kmax_deeplab']))
    explanation = explain(predictor, pictures[0], limit=1)
    write_explanation(explanation, tmp_path)
    number = explanation.explained[0].segment.id
    assert [path.name for path in tmp_path.glob('segment*')] == [f'segment_{number:03d}.png']


def test_highlight_leaves_the_segment_as_it_is():
    image = np.full((20, 30, 3), (200, 40, 40), np.uint8)
    inside = np.zeros((20, 30), bool)
    inside[5:15, 5:15] = True
    picture = highlight(image, inside, (0, 255, 0), (20, 30))
    assert picture[10, 10].tolist() == [200, 40, 40]
    outside = picture[10, 25].astype(int)
    assert outside.max() - outside.min() < 40  # nearly gray
    assert picture[5, 10].tolist() == [0, 255, 0]


def test_attention_is_bright_where_the_weight_is_and_dark_where_it_may_not_be():
    image = np.full((40, 60, 3), 120, np.uint8)
    weights = np.zeros((1, 4, 6), np.float32)
    weights[0, 1, 2] = 1
    allowed = np.zeros((4, 6), bool)
    allowed[:2] = True
    thumbs = Thumbnails(image, 60, (0, 0, 255), np.zeros((40, 60), np.float32))
    picture = thumbs.attention(weights[0], Look(
        8, weights, allowed, [0.0], None, (4.0, 6.0))).astype(int)
    assert picture[15, 25, 0] > 220 and picture[15, 25, 2] < 100  # yellow
    assert picture[35, 50].sum() < 0.7 * picture[5, 50].sum()


def test_names_of_any_script(system, pictures, tmp_path, monkeypatch):
    monkeypatch.delenv(fonts.FONT_VARIABLE, raising=False)
    predictor = Predictor(*system('mask2former', panoptic_fusion_head=LOW['mask2former']))
    name = '汽车' * 40
    monkeypatch.setattr(predictor, 'classes', (name, ) * len(predictor.classes))
    explanation = explain(predictor, pictures[0], limit=1)
    drawn, said = [], []
    for files in ((), (small_fonts.write_font(tmp_path / 'a.ttf', '汽车'), )):
        monkeypatch.setattr(fonts, 'system_files', lambda bold=True, files=files: files)
        for cache in (fonts.find_face, fonts.characters, text._find_runs):
            cache.cache_clear()
        text._reported.clear()
        stream = io.StringIO()
        with messages_to(stream):
            write_explanation(explanation, tmp_path / 'out')
        said.append(stream.getvalue())
        sheet, = set((tmp_path / 'out').glob('segment_???.png'))
        drawn.append(cv2.imread(str(sheet)))
    for cache in (fonts.find_face, fonts.characters, text._find_runs):
        cache.cache_clear()
    # without a font one line says so; with it, its squares are drawn and cut to their places
    assert said[0].count('\n') == 1 and '汽 (U+6C7D) 车 (U+8F66)' in said[0] and not said[1]
    title = drawn[1][24:54, 52:1768]
    columns = (title.max(2) < 60).sum(0) >= 18  # 0.7 of 26 pixels
    assert columns.sum() > 0.7 * title.shape[1]
    assert ((drawn[0][24:54, 52:1768].max(2) < 60).sum(0) >= 18).sum() < 0.3 * title.shape[1]
    assert (drawn[1][:, 1770:] >= 250).all()  # nothing in the margin


def test_titles_of_names_that_are_read_from_right_to_left(found):
    one, = found[1].explained
    one = replace(one, segment=replace(one.segment, id=7, name='سيارة', score=0.92))
    assert replace(one, segment=replace(one.segment, name='car')).title == '7 · car 0.92'

    def ink(title, anchor):
        canvas = Canvas(600, 40)
        canvas.text(20 if anchor == 'la' else 580, 8, title, 20, anchor=anchor)
        return canvas.pixels().astype(int)
    title = f'{one.title} · query 3'
    # number, name, score and query are in this order from left to right
    for part, anchor in (('7 · ', 'la'), (' 0.92 · query 3', 'ra')):
        columns = np.nonzero((ink(part, anchor) < 200).any((0, 2)))[0]
        there = np.s_[:, columns.min():columns.max() + 1]
        marked, plain = (np.abs(ink(text, anchor)[there] - ink(part, anchor)[there]).mean()
                         for text in (title, title.replace('\u200e', '')))
        # the right end is at a fraction of a pixel
        assert marked < 5 < 15 < plain


@pytest.fixture
def files(system_config, pictures, tmp_path):
    """Config and photo in ``tmp_path``, and arguments that name the model."""
    system_config('mask2former', panoptic_fusion_head=LOW['mask2former']).dump(
        tmp_path / 'config.py')
    weights = torch.load(DATA / 'checkpoints/mask2former.pth', weights_only=True)
    torch.save(dict(state_dict=weights.get('state_dict', weights), meta={}),
               tmp_path / 'weights.pth')
    cv2.imwrite(str(tmp_path / 'photo.png'), pictures[0][..., ::-1])
    return ['--model', tmp_path / 'config.py', '--weights', tmp_path / 'weights.pth',
            '--device', 'cpu']


def test_verb(mmpanseg_command, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = mmpanseg_command('explain', 'photo.png', *files, '--segment', '1', '2', '--limit', 1)
    assert done.status == 0, done.err
    lines = done.out.splitlines()
    assert lines[0].split() == ['segment', 'class', 'score', 'pixels', 'query']
    marked = [line.split()[0] for line in lines if line.endswith('explained')]
    assert marked == ['1', '2']
    assert lines[-1] == '2 segments explained -> explain/photo/index.html'
    mistake = mmpanseg_command('explain', 'photo.png', *files, '--segment', '99', '--out', 'other')
    assert mistake.status == 1 and not (tmp_path / 'other').exists()
    assert mistake.err.startswith('mmpanseg explain: error: segment 99 does not exist: ')
    listed = json.loads((tmp_path / 'explain/photo/explanation.json').read_text())['segments']
    assert [line.split()[1:2] + line.split()[-2:-1] for line in lines[1:3]] == [
        [one['name'], str(one['query'])] for one in listed[:2]]


@pytest.mark.slow
@pytest.mark.parametrize(('arguments', 'text'), [
    (['--segment', '99'], 'segment 99 does not exist: the segments of this image are 1 .. '),
    (['--segment', 'horse'], 'horse'), (['--segment', '999,2'], 'pixel 999,2 (x,y) is outside'),
    (['--cfg-options', 'model.test_cfg.panoptic_on=False'], 'no panoptic result'),
    (['--cfg-options', 'model.test_cfg.mode=tile'], 'segments of tiles are stitched'),
    (['--fusion', 'best'], "fusion='best' is unknown")])
def test_mistakes(mmpanseg_command, files, tmp_path, arguments, text):
    done = mmpanseg_command('explain', tmp_path / 'photo.png', *files, *arguments,
                            '--out', tmp_path / 'out')
    assert done.status == 1 and re.match('mmpanseg explain: error: ', done.err)
    assert text in done.err and done.err.count('\n') == 1
    assert not (tmp_path / 'out').exists()


@pytest.mark.slow
@pytest.mark.parametrize(('name', 'text'), [
    ('none.png', 'none.png'), ('', 'one image is explained at a time')])
def test_images_that_are_none(mmpanseg_command, files, tmp_path, name, text):
    done = mmpanseg_command('explain', tmp_path / name, *files, '--out', tmp_path / 'out')
    assert done.status == 1 and text in done.err and done.err.count('\n') == 1
