"""Which font draws which part of a text, in which order; what no font has."""
import importlib
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, features

from mmpanseg.utils.messages import messages_to
from mmpanseg.visualization import DrawnSegment, FontError, draw_panoptic, fonts, text
from mmpanseg.visualization.text import (
    draw_text,
    find_runs,
    fit_text,
    report_missing,
    text_ink,
    text_width,
    wrap_text,
)

sys.path.insert(0, str(Path(__file__).parent))
small_fonts = importlib.import_module('small_fonts')

DEJAVU = fonts.default_face()


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Sets the fonts of the system."""
    monkeypatch.delenv(fonts.FONT_VARIABLE, raising=False)

    def use(*files):
        monkeypatch.setattr(fonts, 'system_files', lambda bold=True: files)
        for cache in (fonts.find_face, fonts.characters, text._find_runs):
            cache.cache_clear()
        text._reported.clear()
    use()
    yield use
    for cache in (fonts.find_face, fonts.characters, text._find_runs):
        cache.cache_clear()


@pytest.fixture
def said():
    """What is told to the user."""
    import io
    stream = io.StringIO()
    with messages_to(stream):
        yield lambda: stream.getvalue().splitlines()


def parts(value, **options):
    return [(run.text, Path(run.face.path).name) for run in find_runs(value, **options)]


@pytest.mark.parametrize('value', ['car 92%', 'naïve Žluťoučký', 'автомобиль', 'e\u0301te\u0301',
                                   'α ≥ ½', ''])
def test_one_font_draws_it_all(system, said, value):
    runs = find_runs(value)
    assert [run.face for run in runs] == [DEJAVU]
    assert runs[0].text == unicodedata.normalize('NFC', value)
    assert not said()


def test_other_characters_have_another_font(system, said, tmp_path):
    system(small_fonts.write_font(tmp_path / 'a.ttf', '车'),
           small_fonts.write_font(tmp_path / 'b.ttf', '汽车'))
    # one font for a word where possible is not needed: the first that has the character
    assert parts('car 汽车 92%') == [('car ', 'DejaVuSans-Bold.ttf'), ('汽', 'b.ttf'),
                                   ('车', 'a.ttf'), (' 92%', 'DejaVuSans-Bold.ttf')]
    assert not said()
    # the characters of the small fonts are as wide as the font size
    assert text_width('汽车', 20) == 40
    assert text_width('car 汽车', 20) == pytest.approx(text_width('car ', 20) + 40)
    ink = text_ink('汽', 40, 60, 60)
    rows, columns = np.nonzero(ink > 0.5)
    assert columns.min() == 14 and columns.max() == 45  # 0.1 to 0.9 of 40, in the middle
    assert rows.max() - rows.min() == 27  # 0.7 of 40


def test_missing_characters_are_said_once(system, said):
    assert parts('汽车 car') == [('汽车 car', 'DejaVuSans-Bold.ttf')]
    find_runs('车')
    line, = said()
    assert '汽 (U+6C7D) 车 (U+8F66)' in line and 'boxes are drawn' in line
    assert "pip install 'mmpanseg[fonts]'" in line and fonts.FONT_VARIABLE in line
    find_runs('人')
    assert len(said()) == 2 and '车' not in said()[1]
    report_missing(['一二三', '四五六七八九十'])
    assert len(said()) == 3 and 'and 2 more characters' in said()[2]
    # the box of the font is drawn
    assert text_ink('汽', 40, 60, 60).max() == 1


def test_a_picture_says_all_missing_characters_in_one_line(system, said):
    ids = np.zeros((400, 600), int)
    ids[:, 300:] = 1
    image = np.full((400, 600, 3), 90, np.uint8)
    segments = [DrawnSegment(0, 0, False), DrawnSegment(1, 1, False)]
    for _ in range(2):
        draw_panoptic(image, ids, segments, ['汽车', '天空'])
    line, = said()
    assert all(letter in line for letter in '汽车天空')


def test_fonts_of_a_collection_by_language(system, tmp_path):
    file = small_fonts.write_collection(
        tmp_path / 'c.ttc', '車の차', ['Test JP', 'Test KR', 'Test SC'])
    system(file)
    for value, number in (('車', 2), ('車の', 0), ('차', 1), ('車차', 1)):
        assert {run.face for run in find_runs(value)} == {fonts.Face(file, number)}, value
        # of a chosen collection, too
        assert {run.face for run in find_runs(value, file)} == {fonts.Face(file, number)}, value


def test_broken_fonts_of_the_system_are_left_out(system, said, tmp_path):
    bad, short = tmp_path / 'bad.ttf', tmp_path / 'short.ttf'
    bad.write_bytes(b'garbage' * 100)
    whole = Path(small_fonts.write_font(tmp_path / 'good.ttf', '车')).read_bytes()
    short.write_bytes(whole[:len(whole) // 2])
    system(str(bad), str(short), str(tmp_path / 'gone.ttf'), str(tmp_path / 'good.ttf'))
    assert parts('车') == [('车', 'good.ttf')]
    assert not said()


def test_a_chosen_font_comes_first(system, tmp_path, monkeypatch):
    file = small_fonts.write_font(tmp_path / 'mine.ttf', 'car')
    assert parts('car', font=file) == [('car', 'mine.ttf')]
    assert parts('car x', font=file) == [('car', 'mine.ttf'), (' x', 'DejaVuSans-Bold.ttf')]
    monkeypatch.setenv(fonts.FONT_VARIABLE, file)
    assert parts('car') == [('car', 'mine.ttf')]
    ids, image = np.zeros((400, 600), int), np.full((400, 600, 3), 90, np.uint8)
    mine = draw_panoptic(image, ids, [DrawnSegment(0, 0, False)], ['car'])
    monkeypatch.delenv(fonts.FONT_VARIABLE)
    others = draw_panoptic(image, ids, [DrawnSegment(0, 0, False)], ['car'])
    assert (mine != others).any()
    again = draw_panoptic(image, ids, [DrawnSegment(0, 0, False)], ['car'], font=file)
    assert (mine == again).all()


@pytest.mark.parametrize('content', [None, b'', b'garbage' * 99])
def test_a_chosen_file_that_is_no_font(system, tmp_path, monkeypatch, content):
    file = tmp_path / 'mine.ttf'
    if content is not None:
        file.write_bytes(content)
    reason = 'does not exist' if content is None else 'is no font that can be drawn'
    with pytest.raises(FontError, match=f'mine.ttf {reason}: name a .ttf'):
        find_runs('car', font=file)
    monkeypatch.setenv(fonts.FONT_VARIABLE, str(file))
    with pytest.raises(FontError, match=f'^{fonts.FONT_VARIABLE}: .*mine.ttf {reason}'):
        find_runs('car')


@pytest.mark.parametrize('value', [
    '🚗', '👩\u200d🚀 x', '\u200d', '\ufe0f\u0301', 'a\tb\nc\x00', '\U000e0101', '\ud800',
    'z' + '\u0301' * 30, '\u202eabc'])
def test_unusual_characters_are_drawn(system, said, value):
    ink = text_ink(f'x {value}', 20, 200, 40)
    assert ink.shape == (40, 200) and 0 < ink.mean() < 0.5
    assert text_width(value, 20) >= 0


def test_parts_of_two_directions(system, tmp_path):
    """The order is that of the Unicode algorithm for texts without numbers within words."""
    system(small_fonts.write_font(tmp_path / 'a.ttf', '车'))
    assert [run.text for run in find_runs('车 سيارة 92%')] == ['车', ' ', 'سيارة', ' 92%']
    # the text starts at the right
    assert [(run.text, run.right_to_left) for run in find_runs('سيارة 车 92%')] == [
        ('车', False), (' 92%', False), ('سيارة ', True)]
    assert [run.text for run in find_runs('车 שלום 车')] == ['车', ' ', 'שלום', ' ', '车']


def test_letters_from_right_to_left_without_raqm(system, said, monkeypatch):
    monkeypatch.setattr(features, 'check', lambda name: False)
    run, = find_runs('שלום')
    assert run.right_to_left and text._shaped(run) == ('םולש', None)
    assert 'not joined' in said()[0] and 'Raqm' in said()[0]
    find_runs('שלום עולם')
    assert len(said()) == 1


@pytest.mark.skipif(not features.check('raqm'), reason='Pillow has no Raqm library')
def test_hebrew_is_mirrored(system):
    """One run or several runs give the same picture."""
    pictures = []
    for runs in (None, (text.Run('שלום', DEJAVU, True), )):
        canvas = Image.new('L', (120, 40))
        if runs is None:
            draw_text(ImageDraw.Draw(canvas), (10, 20), 'שלום', 255, 20)
        else:
            ink = ImageDraw.Draw(canvas)
            ascent, descent = fonts.load_face(DEJAVU, 20).getmetrics()
            ink.text((10, 20 + (ascent - descent) / 2), 'שלום', fill=255, direction='rtl',
                     font=fonts.load_face(DEJAVU, 20), anchor='ls')
        pictures.append(np.asarray(canvas))
    assert (pictures[0] == pictures[1]).all()


def test_upright_bold_sans_fonts_come_first(monkeypatch):
    files = ['/f/NotoSerif-Bold.ttf', '/f/NotoSans-Italic.ttf', '/f/NotoSans-Regular.ttf',
             '/f/NotoSansMono-Bold.ttf', '/f/NotoSans-Bold.ttf', '/f/x.pfb']
    monkeypatch.setattr('matplotlib.font_manager.findSystemFonts', lambda: files)
    fonts.system_files.cache_clear()
    found = [Path(path).name for path in fonts.system_files() if path.startswith('/f/')]
    fonts.system_files.cache_clear()
    assert found[:2] == ['NotoSans-Bold.ttf', 'NotoSans-Regular.ttf'] and 'x.pfb' not in found
    regular = [Path(path).name for path in fonts.system_files(bold=False)]
    fonts.system_files.cache_clear()
    assert regular[:2] == ['NotoSans-Regular.ttf', 'NotoSans-Bold.ttf']


def test_weight(system, tmp_path):
    system(small_fonts.write_variable_font(tmp_path / 'a.ttf', '车'))
    # of DejaVu Sans another file, of a variable font another outline
    regular, = find_runs('car', bold=False)
    assert regular.face.path.endswith('DejaVuSans.ttf')
    assert text_width('car', 20, bold=False) == fonts.load_face(regular.face, 20).getlength('car')
    assert (text_width('车', 20), text_width('车', 20, bold=False)) == (20, 14)
    assert (text_width('车', 20, tmp_path / 'a.ttf', False)) == 14
    canvas = Image.new('L', (80, 40))
    draw_text(ImageDraw.Draw(canvas), (10, 20), '车', 255, 40, bold=False)
    columns = np.nonzero(np.asarray(canvas).max(0) > 127)[0]
    assert columns.max() - columns.min() + 1 == 16  # 0.4 of 40; 32 if bold


@pytest.mark.parametrize('value', ['car', '车', 'car 车', 'سيارة'])
def test_anchors(system, tmp_path, value):
    system(small_fonts.write_font(tmp_path / 'a.ttf', '车'))
    width = text_width(value, 20)
    ascent, descent = fonts.load_face(DEJAVU, 20).getmetrics()

    def ink(anchor, place, text=value):
        canvas = Image.new('L', (300, 80))
        draw_text(ImageDraw.Draw(canvas), place, text, 255, 20, anchor)
        return np.asarray(canvas).astype(int)

    def box(pixels):
        rows, columns = np.nonzero(pixels > 127)
        return np.array((rows.min(), rows.max(), columns.min(), columns.max()))

    left = box(ink('ls', (150, 40)))
    assert (ink('la', (150, 40 - ascent)) == ink('ls', (150, 40))).all()
    for anchor, share in (('rs', 1), ('ms', 0.5)):
        assert np.abs(box(ink(anchor, (150 + share * width, 40))) - left).max() <= 1
    # all fonts have the same baseline, and without a letter for down it is the middle
    line = box(ink('ls', (150, 40), 'H'))
    if value != 'سيارة':
        assert line[1] == left[1] == 39
    assert (ink('l', (150, 40)) == ink('lm', (150, 40))).all()
    if value == 'car 车':
        middle = box(ink('lm', (150, 40 - (ascent - descent) / 2)))
        assert np.abs(middle - left).max() <= 1


@pytest.mark.parametrize('bold', [True, False])
@pytest.mark.parametrize('value', [
    'a very long name of a class', '汽车和自行车和行人和道路', 'z\u0301' * 30,
    'سيارة كبيرة جدا في الشارع', 'e\u0301' * 30, '각' * 20, '\u1100\u1161\u11a8' * 20])
def test_texts_are_cut_at_letters(system, tmp_path, value, bold):
    system(small_fonts.write_font(tmp_path / 'a.ttf', '汽车和自行人道路각'))
    composed = unicodedata.normalize('NFC', value)
    previous = 0
    for width in (30, 60, 90, 120):
        cut = fit_text(value, 12, width, bold=bold)
        assert cut.endswith('…') and composed.startswith(cut[:-1])
        assert text_width(cut, 12, bold=bold) <= width and len(cut) >= previous
        # a mark stays with its letter
        assert not unicodedata.combining(composed[len(cut) - 1])
        previous = len(cut)
        end = fit_text(value, 12, width, bold=bold, keep_end=True)
        assert end.startswith('…') and composed.endswith(end[1:])
        assert not unicodedata.combining(end[1]) and text_width(end, 12, bold=bold) <= width
    assert fit_text(value, 12, 5000, bold=bold) == value
    assert fit_text(value, 12, 2, bold=bold) == '…'


def test_the_longest_text_that_fits_is_kept(system, tmp_path):
    system(small_fonts.write_font(tmp_path / 'a.ttf', '汽车…'))
    assert fit_text('汽车汽车汽车', 20, 80) == '汽车汽…'
    assert fit_text('汽车汽车', 20, 80) == '汽车汽车'
    assert fit_text('汽车汽车汽车', 20, 80, keep_end=True) == '…车汽车'


def test_lines(system, tmp_path):
    system(small_fonts.write_font(tmp_path / 'a.ttf', '汽车人'))
    words = 'one two three four five six seven'
    lines = wrap_text(words, 12, 60)
    assert ' '.join(lines) == words and all(text_width(line, 12) <= 60 for line in lines)
    # none of the next word fits in a line
    assert all(text_width(f'{line} {other.split()[0]}', 12) > 60
               for line, other in zip(lines, lines[1:]))
    two = wrap_text(words, 12, 60, most=2)
    assert two[0] == lines[0] and len(two) == 2 and two[1].startswith(lines[1])
    assert two[1].endswith('…') and text_width(two[1], 12) <= 60
    # within words that are longer than a line
    assert wrap_text('人 汽车汽车汽车汽车 人', 20, 60) == ['人', '汽车汽', '车汽车', '汽车', '人']
    assert wrap_text('人 汽车汽车汽车汽车 人', 20, 60, most=2)[0] == '人'
    assert wrap_text('', 12, 60) == [] and wrap_text('汽车', 20, 5) == ['…', '…']


def test_fonts_of_a_package(tmp_path, monkeypatch):
    package = tmp_path / 'some_fonts_of_a_test'
    package.mkdir()
    for name in ('__init__.py', 'B.ttf', 'A.otf', 'A-Italic.ttf', 'LICENSE'):
        (package / name).touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert [path.name for path in fonts.package_files(package.name)] == ['A.otf', 'B.ttf']
    assert fonts.package_files('no_such_package_of_fonts') == []
