"""The format cvat: XML for images 1.1, and COCO 1.0."""
import numpy as np
import pytest

from mmpanseg.importers.class_selection import ClassOptions
from mmpanseg.importers.source_image import SourceError

from .labeled import SIZE, Result, box, photo, write

LABELS = """<labels>
<label><name>road</name><color>#ff8000</color><type>polygon</type><attributes/></label>
<label><name>car</name><color>#00ff00</color><type>any</type><attributes/></label>
<label><name>time of day</name><type>tag</type></label>
<label><name>body</name><type>skeleton</type></label>
<label><name>knee</name><type>points</type><parent>body</parent></label></labels>"""
PROJECT = f'<meta><project><name>p</name>{LABELS}<subsets>Train</subsets></project></meta>'
TASK = f'<meta><task><id>1</id><name>p</name>{LABELS}</task></meta>'


def xml(images, meta=TASK):
    return f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>{meta}' \
           f'{images}</annotations>'


def image(shapes, name='a.jpg', size=SIZE, more=''):
    return f'<image id="0" name="{name}" width="{size[1]}" height="{size[0]}" {more}>' \
           f'{shapes}</image>'


def polygon(label, *points, more='occluded="0" source="manual" z_order="0"'):
    return f'<polygon label="{label}" points="{";".join(points)}" {more}></polygon>'


def rect(label, left, top, right, bottom, more='z_order="0"', inner=''):
    return f'<box label="{label}" xtl="{left}.00" ytl="{top}.00" xbr="{right}.00" ' \
           f'ybr="{bottom}.00" {more}>{inner}</box>'


def run_lengths(mask):
    """Runs along the rows from the definition: lengths of 0, 1, 0, 1, ..."""
    runs, value = [0], 0
    for pixel in mask.ravel().astype(int).tolist():
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return ', '.join(map(str, runs))


@pytest.fixture
def src(tmp_path):
    photo(tmp_path / 'src' / 'images' / 'a.jpg')
    return tmp_path / 'src'


def test_shapes(src):
    ring = box(0, 0, 6, 5, (5, 6)) & ~box(2, 1, 4, 3, (5, 6))
    # starts inside
    assert run_lengths(ring).startswith('0, 8, 2')
    crowd = '<attribute name="is_crowd">true</attribute><attribute name="color">red</attribute>'
    write(src / 'annotations.xml', xml(image(
        polygon('road', '2.00,3.00', '8.00,3.00', '8.00,7.00', '2.00,7.00')
        + f'<mask label="ring" rle="{run_lengths(ring)}" left="10" top="20" width="6" height="5" '
          'occluded="1" z_order="0"></mask>'
        + rect('car', 20, 2, 24, 8, 'occluded="1" group_id="0"')
        + rect('turned', 30, 10, 38, 14, 'rotation="90.00"')
        + rect('part', 20, 20, 22, 22, 'group_id="3"')
        + rect('part', 25, 20, 27, 22, 'group_id="3"')
        + rect('many', 30, 20, 36, 25, inner=crowd)
        + '<polyline label="wire" points="1,2;3,4"></polyline><tag label="night"></tag>'
        + '<points label="knee" points="1,2"></points>')))
    result = Result('cvat', src, 0)
    # labels of the project first, without those that have no area
    assert result.names[:2] == ['road', 'car'] and not {'night', 'body'} & set(result.names)
    assert result.imported.classes[0]['color'] == [255, 128, 0]
    found = {name: (crowd, mask) for name, crowd, mask in result.segments()}
    expected = {
        'road': box(2, 3, 8, 7), 'car': box(20, 2, 24, 8), 'turned': box(32, 8, 36, 16),
        'ring': box(10, 20, 16, 25) & ~box(12, 21, 14, 23), 'many': box(30, 20, 36, 25),
        'part': box(20, 20, 22, 22) | box(25, 20, 27, 22)}
    assert found.keys() == expected.keys()
    for name, mask in expected.items():
        assert (found[name][1] == mask).all(), name
        assert found[name][0] == (name == 'many')
    for kind in ('polyline', 'tag', 'points'):
        assert f'left out 1 x {kind}, which has no area' in result.notes


def test_ellipse(src):
    write(src / 'annotations.xml', xml(image(
        '<ellipse label="egg" cx="20" cy="15" rx="5" ry="12.5" rotation="90"></ellipse>')))
    mask = Result('cvat', src, 0).masks()['egg']
    y, x = np.mgrid[:30, :40] + 0.5
    value = np.hypot((x - 20) / 12.5, (y - 15) / 5)
    assert mask[value < 0.95].all() and not mask[value > 1.06].any()
    assert abs(mask.sum() - np.pi * 12.5 * 5) < 5


def test_z_order(src):
    write(src / 'annotations.xml', xml(image(
        rect('car', 0, 0, 10, 10, 'z_order="2"') + rect('road', 5, 0, 20, 10, 'z_order="-1"')
        + rect('sign', 8, 0, 12, 10, 'z_order="2"'))))
    masks = Result('cvat', src, 0).masks()
    assert (masks['sign'] == box(8, 0, 12, 10)).all()
    assert (masks['car'] == box(0, 0, 8, 10)).all()
    assert (masks['road'] == box(12, 0, 20, 10)).all()


def test_project_with_subsets(tmp_path):
    src = tmp_path / 'src'
    text = ''
    for number, (subset, folder) in enumerate((('Train', 'Train'), ('Validation', 'Validation'),
                                               ('default', 'default'))):
        # the same name in each subset
        photo(src / 'images' / folder / 'a b.jpg', (20, 20 + number))
        text += image(rect('car', 2, 2, 9, 9), 'a b.jpg', (20, 20 + number),
                      f'subset="{subset}" task_id="{number}"')
    write(src / 'annotations.xml', xml(text, PROJECT))
    result = Result('cvat', src)
    assert result.imported.images == {'train': 2, 'val': 1}
    content = result.content('val')
    assert [item['width'] for item in content['images']] == [21]
    name, = result.images('val')
    assert (result.masks(name, 'val')['car'] == box(2, 2, 9, 9, (20, 21))).all()


def test_exif_orientation_and_empty_image(src):
    photo(src / 'images' / 'a.jpg', (30, 40), orientation=8)
    photo(src / 'images' / 'b.jpg')
    write(src / 'annotations.xml', xml(
        image(rect('car', 2, 3, 8, 13), size=(40, 30)) + image('', 'b.jpg')), 'utf-8-sig')
    result = Result('cvat', src, 0)
    mask = result.masks('a.jpg')['car']
    assert (np.rot90(mask, 1) == box(2, 3, 8, 13, (40, 30))).all()
    assert result.segments('b.jpg') == []


def coco(annotations):
    return dict(
        licenses=[], info={}, images=[dict(id=1, file_name='a.jpg', height=30, width=40)],
        # numbered from 1 in the order of the labels
        categories=[dict(id=1, name='road', supercategory=''),
                    dict(id=2, name='car', supercategory='')],
        annotations=[dict(dict(id=number, image_id=1, iscrowd=0, attributes=dict(occluded=False)),
                          **item) for number, item in enumerate(annotations, 1)])


def test_coco(tmp_path):
    src = tmp_path / 'src'
    column = [30 * 10 + 5, 4] + [26, 4] * 2
    rle = dict(size=[30, 40], counts=column + [1200 - sum(column)])
    content = coco([dict(category_id=1, segmentation=[[0, 0, 30, 0, 30, 20, 0, 20]]),
                    dict(category_id=2, segmentation=rle, iscrowd=1)])
    for subset in ('Train', 'Validation'):
        photo(src / 'images' / subset / 'a.jpg')
        write(src / 'annotations' / f'instances_{subset}.json', content)
    result = Result('cvat', src, classes=ClassOptions(stuff=('road', )))
    assert result.imported.images == {'train': 1, 'val': 1}
    assert result.names == ['road', 'car']
    assert [item['id'] for item in result.imported.classes] == [1, 2]
    (car, crowd, mask), (road, _, rest) = result.segments(split='val')
    assert (car, road, crowd) == ('car', 'road', True)
    assert (mask == box(10, 5, 13, 9)).all() and (rest == box(0, 0, 30, 20) & ~mask).all()
    assert '2 annotations have iscrowd 1 (the attribute is_crowd)' in result.notes


@pytest.mark.parametrize('text, line', [
    ('<annotations><image></annotations>', 'annotations.xml is no XML (mismatched tag: line 1'),
    (xml('<track id="0" label="car"></track>'), 'is an export of "CVAT for video"; export it as'),
    ('<annotation><filename>a.jpg</filename></annotation>', 'no XML file of "CVAT for images 1.1"'),
    (xml(image('', '')), 'annotations.xml: the image with the id 0 has no name'),
    (xml('<image id="0" name="a.jpg" width="40"></image>'),
     'annotations.xml, image a.jpg: height must be a number, got None'),
    (xml(image('', 'gone.jpg')), 'annotations.xml: image gone.jpg: the image images/gone.jpg is in '
     'none of the folders'),
    (xml(image(polygon('', '1,2'))), 'annotations.xml, image a.jpg, polygon 1: it has no label'),
    (xml(image(polygon('car', '1,2', '3'))), 'polygon 1 (car): its points must be numbers (x, y)'),
    (xml(image('<box label="car" xtl="1" ytl="2" xbr="3"></box>')),
     'box 1 (car): ybr must be a number, got None'),
    (xml(image(rect('car', 1, 2, 3, 4, 'z_order="top"'))),
     "box 1 (car): z_order must be a number, got 'top'"),
    (xml(image('<mask label="car" rle="1, 2" left="0" top="0" width="2" height="2"></mask>')),
     'mask 1 (car): its rle has 3 pixels, its box 2x2 has 4; export the annotation again'),
    (xml(image('<mask label="car" rle="1, b" left="0" top="0" width="2" height="2"></mask>')),
     'mask 1 (car): its rle must be whole numbers'),
    (xml(image(rect('car', 1, 2, 3, 4)) * 2), 'both annotate the image a.jpg'),
    (xml(image(rect('car', 1, 2, 3, 4), size=(10, 10))), 'a.jpg is 40x30, its annotation is for'),
])
def test_bad_files(src, text, line):
    write(src / 'annotations.xml', text)
    with pytest.raises(SourceError) as caught:
        Result('cvat', src, 0)
    assert line in str(caught.value) and '\n' not in str(caught.value)
