"""Pictures beside the ground truth."""
import numpy as np
import pytest
from PIL import Image

from mmpanseg import Result
from mmpanseg.evaluation.panoptic_quality import PanopticMap
from mmpanseg.results.comparison import void_unlisted
from mmpanseg.structures.error_kinds import PIXEL_COLORS, PixelKind
from mmpanseg.visualization.panoptic import font_size_for

from .conftest import CLASSES, INFOS, SIZE, make, make_map

PALETTE = [(200, 60, 60), (60, 60, 200), (80, 160, 220), (120, 100, 90)]
PLAIN = dict(min_side=0, label_size=0, line_width=0, style='mask')


def truth(crowd=(), drop=()):
    kept = [info for info in INFOS if info['id'] not in drop]
    ids = np.where(np.isin(make_map(), list(drop)), 0, make_map())
    return PanopticMap(ids, [info['id'] for info in kept], [info['label'] for info in kept],
                       [info['id'] in crowd for info in kept])


def panels(picture, size=SIZE):
    """The four pictures: two rows of two."""
    height, width = size
    gap = picture.shape[1] - 2 * width
    columns = (np.s_[:width], np.s_[width + gap:])
    second = height + round(2.2 * font_size_for(size))  # below the captions
    return [picture[top:top + height, place] for top in (0, second) for place in columns]


def test_a_perfect_result():
    result = make(palette=PALETTE)
    image, predicted, true, errors = panels(result.compare(truth(), **PLAIN))
    np.testing.assert_array_equal(image, result.image)
    # equal segments have equal colors; void is black, and hatched in the ground truth
    np.testing.assert_array_equal(predicted[:36], true[:36])
    np.testing.assert_array_equal(predicted, result.plot(min_score=0, **PLAIN))
    assert (predicted[36:] == 0).all() and true[36:].any()
    # what is right is gray
    assert (np.ptp(errors[5:7, 40:].astype(int), axis=-1) == 0).all()


def test_wrong_segments_have_the_color_of_their_error():
    size = (120, 160)
    ids = np.ones(size, int)
    ids[30:90, 40:120] = 2
    image = np.full((*size, 3), 128, np.uint8)
    other = np.where(ids == 2, 5, 1)
    result = Result(size, CLASSES, 2, image=image, panoptic=(
        other, [dict(id=5, label=1, score=0.1), dict(id=1, label=2)]))
    gt = Result(size, CLASSES, 2, panoptic=(ids, [dict(id=2, label=0), dict(id=1, label=2)]))
    *_, errors = panels(result.compare(gt, **PLAIN), size)
    inside = errors[50:70, 60:100].reshape(-1, 3).mean(0)
    expected = np.array(PIXEL_COLORS[PixelKind.WRONG_CLASS])
    gray = np.full(3, 128)
    share = ((inside - gray) * (expected - gray)).sum() / ((expected - gray) ** 2).sum()
    assert 0.4 < share < 1.2
    assert np.ptp(errors[10, 10].astype(int)) == 0  # the sky is right
    # the segment of a low score is drawn, because it is an error
    assert result.plot(**PLAIN)[60, 80].tolist() == [0, 0, 0]


def test_crowds_are_not_scored():
    result = make().filter(['sky', 'road', 'car'])
    one, other = (result.compare(truth(crowd=crowd), **PLAIN) for crowd in ((), (7, 2)))
    assert (panels(one)[3] != panels(other)[3]).any()


def test_files_beside_the_truth(tmp_path):
    result = make()
    result.save(tmp_path / 'a.png', truth=truth(), palette='colorblind')
    expected = result.compare(truth(), palette='colorblind')
    assert (np.asarray(Image.open(tmp_path / 'a.png')) == expected).all()


def test_high_images_are_in_one_row():
    ids = np.ones((300, 200), int)
    info = [dict(id=1, label=0)]
    result = Result(ids.shape, CLASSES, 2, image=np.full((300, 200, 3), 9, np.uint8),
                    panoptic=(ids, info))
    assert result.compare(result, min_side=0).shape[1] > 800


def test_segments_of_other_classes_are_void():
    ids = np.array([[1, 2, 0], [3, 3, 900000]])
    assert void_unlisted(ids, {1, 3}).tolist() == [[1, 0, 0], [3, 3, 0]]
    assert void_unlisted(ids, {1, 2, 3, 900000}) is ids


@pytest.mark.parametrize('given, options, text', [
    (PanopticMap(np.ones((3, 4), int), [1], [0]), {}, 'size|pixels'),
    (PanopticMap(np.ones(SIZE, int), [1], [9]), {}, 'label|class'),
    (None, dict(style='transparent'), 'do not stand side by side'),
    (None, dict(colors={7: (1, 2, 3)}), 'colors: pictures beside a ground truth')])
def test_mistakes(given, options, text):
    with pytest.raises(ValueError, match=text):
        make().compare(given or truth(), **options)
