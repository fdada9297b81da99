"""Pictures: those of the visualizer, files in every format, windows, notebooks."""
import base64
import re

import cv2
import numpy as np
import pytest
from matplotlib import pyplot
from PIL import Image

from mmpanseg.structures import read_panoptic_png
from mmpanseg.structures.label_image import read_label_image
from mmpanseg.visualization import NoDisplayError, draw_panoptic
from mmpanseg.visualization.panoptic import DrawnSegment

from .conftest import CLASSES, INFOS, OUTPUTS, SIZE, make, make_map, make_semantic

PALETTE = [(200, 60, 60), (60, 60, 200), (80, 160, 220), (120, 100, 90)]
EXACT = dict(min_side=0, with_labels=False)


def test_colors_are_where_the_masks_are():
    result = make(palette=PALETTE, image=np.full((*SIZE, 3), 128, np.uint8))
    picture = result.plot(alpha=1, **EXACT)
    assert picture.dtype == np.uint8 and picture.shape == (*SIZE, 3)
    for segment in result:
        inside = cv2.erode(np.pad(segment.mask(), 1).astype(np.uint8), np.ones((7, 7)))[1:-1, 1:-1]
        colors = np.unique(picture[inside > 0], axis=0)
        if segment.score < 0.3:  # not drawn: the image
            assert (colors == 128).all()
        elif not segment.is_thing:
            assert colors.tolist() == [list(PALETTE[segment.label])]
    assert (picture[38:] == 128).all()  # void


def test_a_picture_with_chosen_colors():
    result = make(image=np.full((*SIZE, 3), 128, np.uint8))
    picture = result.plot(alpha=1, colors={7: (1, 2, 3), 4: (250, 0, 9)}, **EXACT)
    assert picture[22, 12].tolist() == [1, 2, 3] and picture[3, 50].tolist() == [250, 0, 9]


def test_low_scores_are_drawn_on_request():
    result = make(image=np.full((*SIZE, 3), 128, np.uint8))
    assert (result.plot(**EXACT)[22, 35] == 128).all()
    assert (result.plot(min_score=0.2, **EXACT)[22, 35] != 128).any()
    # in a map of instances, one that is not drawn hides no other
    low = make('instance', image=np.full((*SIZE, 3), 128, np.uint8))
    assert (low.plot(min_score=0.6, **EXACT)[8, 15] == 128).all()


def test_the_drawing_is_that_of_the_visualization():
    """Enlarged, too: there the order of the segments decides about equal pixels."""
    result = make(palette=PALETTE)
    # mmdet's values: label + 1000 x number, void = 4
    code = {7: 1000, 2: 2000, 300: 3001, 4: 2, 9: 3, 0: 4}
    ids = np.vectorize(code.get)(make_map())
    drawn = [DrawnSegment(code[info['id']], info['label'], info['label'] < 2, info['score'])
             for info in INFOS if info['score'] >= 0.3]
    for options in (dict(), dict(min_side=0), dict(alpha=0.2, with_scores=False, min_side=300)):
        expected = draw_panoptic(make().image, ids, drawn, CLASSES, PALETTE, **options)
        assert (result.plot(**options) == expected).all()
    labels = make_semantic()
    expected = draw_panoptic(make().image, labels, [DrawnSegment(k, k, False) for k in (0, 2, 3)],
                             CLASSES)
    assert (make('semantic').plot() == expected).all()


def test_pictures_in_files(tmp_path):
    result = make(palette=PALETTE)
    result.save(tmp_path / 'new/a.png')
    assert (np.asarray(Image.open(tmp_path / 'new/a.png')) == result.plot()).all()
    # JPEG stores smooth pictures with few errors
    smooth = make(palette=PALETTE, image=np.full((*SIZE, 3), 128, np.uint8))
    smooth.save(str(tmp_path / 'a.JPG'), alpha=1, min_side=0)
    near = np.asarray(Image.open(tmp_path / 'a.JPG')).astype(int)
    assert np.abs(near - smooth.plot(alpha=1, min_side=0)).mean() < 8


@pytest.mark.parametrize('kind', ['panoptic', 'instance', 'semantic'])
def test_maps_in_files(kind, tmp_path):
    result = make(kind)
    result.save(tmp_path / 'ids.png', content='panoptic')
    ids = read_panoptic_png(tmp_path / 'ids.png')
    if kind == 'instance':
        assert set(np.unique(ids)) == {0, 1, 2}
    else:
        assert all((segment.mask() == (ids == segment.id)).all() for segment in result)


def test_semantic_maps_in_files(tmp_path):
    from mmpanseg import Result
    make('semantic').save(tmp_path / 'labels.png', content='semantic')
    labels = read_label_image(tmp_path / 'labels.png')
    assert labels.dtype == np.uint8
    assert (labels == np.where(make_semantic() < 0, 255, make_semantic())).all()
    many = Result(SIZE, [str(k) for k in range(300)], 3,
                  semantic=np.where(make_semantic() < 0, -1, 299))
    many.save(tmp_path / 'many.png', content='semantic')
    assert set(np.unique(read_label_image(tmp_path / 'many.png'))) == {299, 65535}


def test_the_image_is_read_upright_and_once(tmp_path):
    image = np.random.default_rng(1).integers(0, 256, (*SIZE, 3)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned by 90 degrees
    Image.fromarray(np.rot90(image)).save(tmp_path / 'a.png', exif=exif)
    result = make(image=None, path=tmp_path / 'a.png')
    assert (result.image == image).all() and result.image is result.image
    assert (result['car'][0].crop() == image[25:30, 44:58]).all()
    assert result.filter('car').image is result.image


def test_no_window(monkeypatch):
    monkeypatch.setattr(pyplot, 'get_backend', lambda: 'agg')
    with pytest.raises(NoDisplayError, match='no window to show pictures'):
        make().show()


def test_window(monkeypatch):
    monkeypatch.setattr('mmpanseg.results.pictures.require_display', lambda: None)
    shown = []
    monkeypatch.setattr(pyplot, 'show', lambda: shown.append(
        pyplot.gcf().axes[0].images[0].get_array()))
    make().show(min_side=0)
    pyplot.close('all')
    assert (shown[0] == make().plot(min_side=0)).all()


@pytest.mark.parametrize('kind', OUTPUTS)
def test_notebooks(kind):
    result = make(kind)
    data = re.search('src="data:image/png;base64,([^"]+)"', result._repr_html_())[1]
    assert base64.b64decode(data) == result._repr_png_()


def test_a_thumbnail_of_a_large_image_is_small():
    from mmpanseg import Result
    ids = np.ones((1000, 1300), int)
    ids[:, 600:] = 2
    result = Result(ids.shape, CLASSES, 2, palette=PALETTE,
                    image=np.full((1000, 1300, 3), 90, np.uint8),
                    panoptic=(ids, [dict(id=1, label=2), dict(id=2, label=3)]))
    picture = cv2.imdecode(np.frombuffer(result._repr_png_(), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (615, 800, 3)
    blue, brown = picture[20, 20], picture[20, -20]
    assert blue[0] > blue[2] and brown[2] > brown[0]
