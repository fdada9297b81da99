"""Each mistake has one line that names it and the fix."""
import json
import sys

import numpy as np
import pytest

from mmpanseg import Result

from .conftest import CLASSES, INFOS, SIZE, make, make_instances, make_map, make_semantic


def build(**options):
    return Result(SIZE, CLASSES, 2, **options)


def wrong(segment, **change):
    """The list of segments with one changed."""
    return [dict(info, **change) if k == segment else info for k, info in enumerate(INFOS)]


MASK = dict(size=list(SIZE), counts='04')
LABELS, SCORES, MASKS, BOXES = make_instances()
FLOATS = make_map().astype(float)
ODD = make_semantic()
ODD[0, 0] = 255


@pytest.mark.parametrize('options, text', [
    (dict(panoptic=(make_map()[:, :-1], INFOS)),
     'the panoptic map has 40 x 59 pixels (height x width), the image 40 x 60'),
    (dict(panoptic=(make_map()[None], INFOS)), 'has 1 x 40 x 60 pixels'),
    (dict(panoptic=(FLOATS, INFOS)), 'the panoptic map must have integers, got float64'),
    (dict(panoptic=(make_map(), INFOS[:-2])),
     'the panoptic map has pixels of segments 4, 9, which the list of segments does not have: list '
     'them, or set the pixels to 0, void'),
    (dict(panoptic=(make_map(), [*INFOS, dict(id=5, label=0, score=1)])),
     'the list of segments has segment 5, of which the panoptic map has no pixel: remove'),
    (dict(panoptic=(make_map(), [*INFOS, INFOS[1]])), 'segment 2 is listed twice: ids must differ'),
    (dict(panoptic=(make_map(), [*INFOS, dict(id=0, label=0)])),
     'segment 0: ids must be in 1 .. 16777215; 0 is void'),
    (dict(panoptic=(make_map(), [dict(id=1)])), "a segment has no 'label': {'id': 1}"),
    (dict(panoptic=(make_map(), wrong(2, label=4))),
     'segment 300: the label 4 is none of 0 .. 3'),
    (dict(panoptic=(make_map(), wrong(2, label=1.0))), 'the label 1.0 is none of'),
    (dict(panoptic=(make_map(), wrong(2, score=float('nan')))),
     'segment 300 has the score nan: scores must be finite numbers; check weights and image'),
    (dict(instances=(LABELS, [0.5, np.inf, 0], MASKS, BOXES)), 'instance 2 has the score inf'),
    (dict(instances=(LABELS, SCORES, MASKS[:, 1:], BOXES)),
     'a mask of an instance has 39 x 60 pixels (height x width), the image 40 x 60'),
    (dict(instances=(LABELS, SCORES, MASKS[0], BOXES)),
     'masks of instances must be bool [n, H, W] or a list of run lengths, got the shape [40, 60]'),
    (dict(instances=(LABELS[:2], SCORES, MASKS, BOXES)),
     'one label, score, mask and box each, got 2 labels, 3 scores, 3 masks, 3 boxes'),
    (dict(instances=(LABELS, SCORES, MASKS, BOXES * [1, 1, np.nan, 1])),
     'instance 1: the box [10.0, 5.0, nan, 20.0] is not finite'),
    (dict(instances=(LABELS + 3, SCORES, MASKS, BOXES)), 'instance 2: the label 4 is none of 0'),
    (dict(instances=([0], [1], [MASK], None)),
     'the mask of instance 1 is no run lengths of 40 x 60 pixels: run lengths have 4 pixels'),
    (dict(instances=([0], [1], [dict(MASK, size=[60, 40])], None)),
     'the mask of instance 1 has 60 x 40 pixels (height x width), the image 40 x 60'),
    (dict(instances=([0], [1], [dict(MASK, counts=[5, 7])], None)), 'they sum to 12'),
    (dict(instances=([0], [1], [dict(counts='04')], None)), 'no "size" and "counts"'),
    (dict(semantic=make_semantic().T),
     'the semantic map has 60 x 40 pixels (height x width), the image 40 x 60'),
    (dict(semantic=ODD), 'the semantic map has the value 255: labels are 0 .. 3, void is -1'),
    (dict(image=np.zeros((40, 61, 3), np.uint8)),
     'image has 40 x 61 pixels (height x width), the result 40 x 60: give the image that was'),
    (dict(image=np.zeros((40, 60), np.uint8)), 'image must be uint8 RGB [H, W, 3], got uint8 [40,'),
    (dict(image=np.zeros((40, 60, 3))), 'image must be uint8 RGB [H, W, 3], got float64 [40, 60'),
    (dict(palette=[(0, 0, 0)]), 'palette has 1 entries, but there are 4 classes: give one for'),
    (dict(category_ids=[1, 2]), 'category_ids has 2 entries, but there are 4 classes'),
    (dict(image_id=1.5), 'image_id must be an integer or a text, got 1.5')])
def test_arguments(options, text):
    with pytest.raises(ValueError) as caught:
        build(**options)
    assert text in str(caught.value) and '\n' not in str(caught.value)


@pytest.mark.parametrize('arguments, text', [
    (((40, ), CLASSES, 2), 'size must be (height, width) in pixels, got (40,)'),
    (((40, 0), CLASSES, 2), 'size must be (height, width) in pixels'),
    ((SIZE, 'person', 1), "classes must be a list of names, got the text 'person'"),
    ((SIZE, CLASSES, 5), 'num_things must be in 0 .. 4, the number of classes, got 5')])
def test_sizes_and_classes(arguments, text):
    with pytest.raises(ValueError) as caught:
        Result(*arguments)
    assert text in str(caught.value)


def test_no_image():
    result = make(image=None, path=None)
    text = (r'the result has no image: give one with Result\(image=...\) or Result\(path=...\), or '
            'set result.image')
    for call in (result.plot, result[0].crop, lambda: result.save('a.png')):
        with pytest.raises(ValueError, match=text):
            call()
    assert result.image is None and result._repr_png_() is None
    assert '<img' not in result._repr_html_() and 'person' in result._repr_html_()
    result.image = make().image
    assert (result.plot() == make().plot()).all() and result[0].crop().any()
    with pytest.raises(ValueError, match='image has 2 x 3 pixels'):
        result.image = np.zeros((2, 3, 3), np.uint8)


def test_missing_and_other_files(tmp_path):
    import cv2
    result = make(image=None, path=tmp_path / 'none.jpg')
    with pytest.raises(FileNotFoundError, match='none.jpg'):
        result.plot()
    assert result._repr_png_() is None
    cv2.imwrite(str(tmp_path / 'other.png'), np.zeros((50, 60, 3), np.uint8))
    with pytest.raises(ValueError, match='other.png has 50 x 60 pixels .*, the result 40 x 60'):
        make(image=None, path=tmp_path / 'other.png').plot()


@pytest.mark.parametrize('name, options, text', [
    ('a.gif', {}, "a.gif: a file of content 'picture' ends in .png, .jpg, .*, or .json"),
    ('a', {}, 'ends in .png'),
    ('a.jpg', dict(content='panoptic'), "a.jpg: a file of content 'panoptic' ends in .png"),
    ('a.png', dict(content='json'), "'json' ends in .json"),
    ('a.png', dict(content='map'), "one of picture, json, panoptic, semantic, not 'map'"),
    ('a.json', dict(alpha=1), "alpha: options of drawings have no effect on content 'json'"),
    ('a.png', dict(content='semantic'), 'the result has no semantic map; predict one, or save')])
def test_files(name, options, text, tmp_path):
    with pytest.raises(ValueError, match=text):
        make().save(tmp_path / name, **options)
    assert not list(tmp_path.iterdir())


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / 'file').touch()
    for name in ('a.png', 'a.json'):
        with pytest.raises(OSError, match=f'cannot write .*{name}'):
            make().save(tmp_path / 'file' / name)


CONTENT = make('all').to_dict()


def changed(*place, value):
    """The dict of a result with one value replaced."""
    content = json.loads(json.dumps(CONTENT))
    part = content
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    return content


@pytest.mark.parametrize('content, text', [
    ([], """no result: "format" must be 'mmpanseg.result', as Result.to_dict writes it"""),
    (changed('format', value='coco'), 'no result: "format" must be'),
    (changed('version', value=2), 'the result has version 2, this package reads version 1'),
    ({key: CONTENT[key] for key in ('format', 'version')}, "the result has no 'size'"),
    (changed('size', value=40), "the result: 'size' must be [height, width], got 40"),
    (changed('size', value=[40, 61]), '"segmentation" of segment 0 must be run lengths'),
    (changed('classes', value='abcd'), "'classes' must be a list of texts"),
    (changed('category_ids', value=None), "'category_ids' must be a list of integers, got None"),
    (changed('palette', value=[1, 2]), "'palette' must be null or a list of [red, green, blue]"),
    (changed('speed', value=[]), "'speed' must be a dict of numbers"),
    (changed('task', value='video'), "'task' must be null, 'panoptic', 'instance' or 'semantic'"),
    (changed('segments', value={}), "'segments' must be a list"),
    (changed('instances', value=[None]), "'instances' of the result must be a list of segments"),
    (changed('instances', value={}), "'instances' of the result must be a list of segments"),
    (changed('segments', 1, 'label', value='car'), "segment 1: 'label' must be an integer"),
    (changed('segments', 1, 'id', value=7), 'segment 7 is listed twice: ids must differ'),
    (changed('segments', 1, 'id', value=0), 'segment 0: ids must be in 1 .. 16777215; 0 is void'),
    (changed('segments', 1, 'box', value=[1, 2, 3]), "segment 1: 'box' must be [x1, y1, x2, y2]"),
    (changed('instances', 0, 'score', value='high'), "segment 0: 'score' must be null or a number"),
    (changed('segments', 0, 'segmentation', value=None), '"segmentation" of segment 0 must be'),
    (changed('segments', 0, 'segmentation', 'counts', value='04'), "'segments' of the result: run "
     'lengths have 4 pixels, a mask of 40 x 60 has 2400'),
    (changed('segments', 0, 'segmentation', value=CONTENT['segments'][1]['segmentation']),
     "'segments' of the result: two masks of a map overlap"),
    (changed('semantic', 0, 'label', value=9), 'the semantic map has the value 9')])
def test_dicts_of_other_programs(content, text):
    with pytest.raises(ValueError) as caught:
        Result.from_dict(content)
    assert text in str(caught.value) and '\n' not in str(caught.value)


@pytest.mark.parametrize('text', ['', '{', 'NaN', b'\xff'])
def test_texts_that_are_no_json(text):
    with pytest.raises(ValueError, match='the text is no JSON of a result'):
        Result.from_json(text)


@pytest.mark.parametrize('name', ['pandas', 'supervision'])
def test_packages_that_are_absent(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=f'to_{name} needs the package {name} .*: pip install '
                       f'{name}$'):
        getattr(make(), f'to_{name}')()
