"""Fonts with a few characters, all of them black squares."""
from pathlib import Path

from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTCollection
from fontTools.ttLib.tables.TupleVariation import TupleVariation


def build(letters: str, family: str) -> FontBuilder:
    """A font whose glyphs are as wide as the font size."""
    names = ['.notdef', *(f'u{ord(letter):04X}' for letter in letters)]
    pen = TTGlyphPen(None)
    pen.moveTo((100, 0))
    for point in ((100, 700), (900, 700), (900, 0)):
        pen.lineTo(point)
    pen.closePath()
    square = pen.glyph()
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder(names)
    font.setupCharacterMap({ord(letter): f'u{ord(letter):04X}' for letter in letters})
    font.setupGlyf(dict.fromkeys(names, square))
    font.setupHorizontalMetrics(dict.fromkeys(names, (1000, 100)))
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable(dict(familyName=family, styleName='Bold'))
    font.setupOS2()
    font.setupPost()
    return font


def write_font(path: Path, letters: str, family: str = 'Test Sans') -> str:
    build(letters, family).save(path)
    return str(path)


def write_variable_font(path: Path, letters: str) -> str:
    """A font whose glyphs are 0.7 of the font size wide if regular, and 1 if bold."""
    font = build(letters, 'Test Sans')
    font.setupFvar([('wght', 400, 400, 700, 'Weight')], [])
    names = font.font.getGlyphOrder()
    for name in names:
        glyph = font.font['glyf'][name]
        glyph.coordinates = type(glyph.coordinates)([(100, 0), (100, 700), (500, 700), (500, 0)])
        font.font['hmtx'][name] = (700, 100)
    wider = [(0, 0), (0, 0), (400, 0), (400, 0), (0, 0), (300, 0), (0, 0), (0, 0)]
    font.setupGvar({name: [TupleVariation({'wght': (0, 1, 1)}, wider)] for name in names})
    font.save(path)
    return str(path)


def write_collection(path: Path, letters: str, families: list[str]) -> str:
    collection = TTCollection()
    collection.fonts = [build(letters, family).font for family in families]
    collection.save(path)
    return str(path)
