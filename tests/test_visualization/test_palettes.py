"""Palettes: where their colors come from, and what is wrong with one."""
import json

import numpy as np
import pytest

from mmpanseg.datasets.cityscapes import CityscapesPanopticDataset
from mmpanseg.datasets.coco import CocoPanopticDataset
from mmpanseg.visualization import (
    DrawnSegment,
    PaletteError,
    colorblind_palette,
    draw_panoptic,
    find_palette,
    generate_palette,
    instance_shade,
    segment_colors,
)
from mmpanseg.visualization.color import rgb_to_oklch
from mmpanseg.visualization.color_vision import (
    VISIONS,
    contrast,
    difference,
    least_difference,
    simulate,
    to_lab,
)

CLASSES = ('car', 'sky', 'road')


# pairs of the supplement to Sharma, Wu and Dalal (2005)
@pytest.mark.parametrize('one, other, expected', [
    ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
    ((50, 0, 0), (50, -1, 2), 2.3669),
    ((50, 2.4900, -0.0010), (50, -2.4900, 0.0011), 7.2195),
    ((50, 2.5, 0), (73, 25, -18), 27.1492),
    ((50, 2.5, 0), (58, 24, 15), 19.4535),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
    ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082)])
def test_published_color_differences(one, other, expected):
    assert difference(np.array(one), np.array(other)) == pytest.approx(expected, abs=1e-4)
    assert difference(np.array(other), np.array(one)) == pytest.approx(expected, abs=1e-4)


def test_lab_and_contrast_of_known_colors():
    np.testing.assert_allclose(to_lab((255, 0, 0)), (53.24, 80.09, 67.20), atol=0.02)
    np.testing.assert_allclose(to_lab((255, 255, 255)), (100, 0, 0), atol=0.02)
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)


def test_missing_cones():
    grays = np.repeat(np.arange(0, 256, 17)[:, None], 3, axis=1)
    for vision in VISIONS:
        assert np.abs(simulate(grays, vision).astype(int) - grays).max() <= 1
    red_green = [(200, 60, 60), (110, 120, 40)]
    assert least_difference(red_green)['normal'] > 40
    assert least_difference(red_green)['deuteranopia'] < 20
    blue_yellow = least_difference([(0, 0, 255), (255, 255, 0)])
    assert min(blue_yellow.values()) > 40


@pytest.mark.parametrize('count, least', [(2, 30), (11, 13), (19, 10), (66, 4.5), (133, 2.8)])
def test_colors_for_everybody(count, least):
    colors = colorblind_palette(count)
    assert len(set(colors)) == count and colors[:2] == colorblind_palette(2)
    assert min(least_difference(colors).values()) > least
    if count > 10:  # red and green of the default palette are alike to some
        assert min(least_difference(generate_palette(count)).values()) < least / 3


def test_instances_for_everybody_differ_in_lightness():
    ids = np.arange(6)[None].repeat(4, 0)
    things = [DrawnSegment(k, 0, True) for k in range(6)]
    colors = list(segment_colors(ids, things, [(0, 114, 178)], keep_hue=True).values())
    places = [rgb_to_oklch(color) for color in colors]
    hues = [hue for _, _, hue in places]
    # colors at the edge of what a screen shows turn a little
    assert max(hues) - min(hues) < 0.02
    lightness = sorted(place[0] for place in places)
    assert min(np.diff(lightness)) > 0.02
    image = np.full((4, 6, 3), 128, np.uint8)
    drawn = draw_panoptic(image, ids, things, palette='colorblind', style='mask', line_width=0,
                          min_side=0)
    assert [tuple(color) for color in drawn[0].tolist()] == list(segment_colors(
        ids, things, colorblind_palette(1), keep_hue=True).values())


@pytest.mark.parametrize('color', colorblind_palette(133))
def test_first_instances_of_each_color_for_everybody(color):
    """Neighbors differ at a glance (10), and any two of four instances nearly so."""
    colors = [instance_shade(color, number, keep_hue=True) for number in range(4)]
    assert colors[0] == color
    for one, other in zip(colors, colors[1:]):
        assert min(least_difference([one, other]).values()) > 10
    assert min(least_difference(colors).values()) > 8
    assert len({instance_shade(color, number, keep_hue=True) for number in range(16)}) == 16


@pytest.mark.parametrize('palette', [
    [(1, 2, 3), (4, 5, 6), (255, 136, 0)], ['#010203', '#040506', '#f80'],
    np.array([(1, 2, 3), (4, 5, 6), (255, 136, 0)]),
    dict(road='#ff8800', car=(1, 2, 3), sky=[4, 5, 6])])
def test_own_colors(palette):
    assert find_palette(palette, CLASSES, 3) == [(1, 2, 3), (4, 5, 6), (255, 136, 0)]


def test_some_own_colors():
    base = [(1, 1, 1), (2, 2, 2), (3, 3, 3)]
    assert find_palette(dict(sky='red'), CLASSES, 3, base) == [
        (1, 1, 1), (255, 0, 0), (3, 3, 3)]
    assert find_palette(dict(sky='red'), CLASSES, 3)[::2] == generate_palette(3)[::2]
    assert find_palette(None, CLASSES, 3, base) == base
    assert find_palette(None, None, 3) == find_palette('generated', None, 3) == (
        generate_palette(3))


def test_colors_of_a_data_set_by_class_name():
    coco = dict(zip(CocoPanopticDataset.METAINFO['classes'],
                    CocoPanopticDataset.METAINFO['palette']))
    found = find_palette('coco', ('road', 'car', 'unicorn'), 3)
    assert found[:2] == [tuple(coco['road']), tuple(coco['car'])]
    assert found[2] == generate_palette(3)[2]
    streets = CityscapesPanopticDataset.METAINFO
    assert find_palette('cityscapes', None, 5) == [tuple(color) for color in streets['palette']]


def test_colors_for_everybody_are_near_those_of_the_data_set():
    meta = CocoPanopticDataset.METAINFO
    found = find_palette('colorblind', meta['classes'], 133, meta['palette'])
    assert sorted(found) == sorted(colorblind_palette(133))

    def distance(colors):
        return np.linalg.norm(to_lab(colors) - to_lab(meta['palette']), axis=1).sum()
    assert distance(found) < 0.7 * distance(colorblind_palette(133))


@pytest.mark.parametrize('name, content', [
    ('a.json', json.dumps([[1, 2, 3], '#040506', 'orange'])),
    ('a.json', json.dumps(dict(sky='#040506', road='orange', car=[1, 2, 3]))),
    ('a.json', json.dumps([dict(id=9, name='sky', color=[4, 5, 6]),
                           dict(id=7, name='car', color=[1, 2, 3]),
                           dict(id=8, name='road', color=[255, 165, 0])])),
    ('a.txt', '1 2 3\n4 5 6\n\n255 165 0\n'),
    ('a.txt', '255,165,0 road\n1 2 3\tcar\n#040506 sky\n'),
    ('a.txt', '\ufeff#010203\n#040506\norange')])
def test_files(tmp_path, name, content):
    (tmp_path / name).write_text(content, encoding='utf-8')
    expected = [(1, 2, 3), (4, 5, 6), (255, 165, 0)]
    assert find_palette(tmp_path / name, CLASSES, 3) == expected
    assert find_palette(str(tmp_path / name), CLASSES, 3) == expected


@pytest.mark.parametrize('palette, text', [
    ([(1, 2, 3)], 'palette has 1 entries, but there are 3 labels'),
    ([(1, 2, 3), (1, 2), (1, 2, 3)], r'palette, color 1: \(1, 2\) is no color'),
    ([(1, 2, 300)] * 3, r'color 0: \(1, 2, 300\) is no color'),
    ([(0.1, 0.5, 1.0)] * 3, 'three integers from 0 to 255'),
    (['#12345'] * 3, "'#12345' is no color"),
    (['x' * 999] * 3, r"'x+\.\.\.x+' is no color"),
    (dict(truck='red'), "'truck' is none of the 3 classes"),
    (dict(rode='red'), "'rode' is none .*did you mean road"),
    (dict(car='redd'), "palette, car: 'redd' is no color"),
    ('colorblnd', "'colorblnd' is no file and none of .*did you mean colorblind"),
    (7, 'palette is a int'),
    ('mapillary', 'mapillary.* has none of the classes')])
def test_mistakes(palette, text):
    classes = ('a', 'b', 'c') if palette == 'mapillary' else CLASSES
    with pytest.raises(PaletteError, match=text):
        find_palette(palette, classes, 3)


def test_names_of_classes_are_needed_for_colors_by_name():
    with pytest.raises(PaletteError, match='the names of the classes are unknown'):
        find_palette(dict(car='red'), None, 1)


@pytest.mark.parametrize('name, content, text', [
    ('a.json', b'{', 'a.json is no JSON'), ('a.json', b'7', 'must have a list of colors'),
    ('a.json', b'[{"name": "car"}]', 'each category must have "name" and "color"'),
    ('a.txt', b'1 2 3 car\n4 5 6\n7 8 9', 'some lines have a class name'),
    ('a.txt', b'1 2\n', r"line 1: \[1, 2\] is no color"),
    ('a.txt', b'1 2 x\n', r"line 1: \[1, 2, 'x'\] is no color"),
    ('a.txt', b'\xff\xfe\x00\x01', 'cannot be read as text'),
    ('a.txt', b'', 'has 0 entries')])
def test_mistakes_in_files(tmp_path, name, content, text):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PaletteError, match=text):
        find_palette(tmp_path / name, CLASSES, 3)
