"""Overlaps, crowds and stuff against a definition of each pixel by itself."""
import numpy as np
import pytest
from pycocotools import mask as rle_tools

from mmpanseg.importers.source_image import (
    ImageContent,
    MapSegment,
    SourceError,
    SourceMap,
    SourceObject,
)
from mmpanseg.importers.write_panoptic import (
    add_background,
    flatten,
    instance_entries,
    map_segments,
    object_layers,
    write_labels,
)

from .files import as_map, square

SIZE = 12, 16
NAMES = {name: name for name in ('car', 'dog', 'sky', 'road')}
THINGS = frozenset({'car', 'dog'})


def pixel_winner(objects, masks, base, y, x, ordered):
    """The rule of the docs, for one pixel: object index, ('stuff', name), or base segment."""
    candidates = [k for k, mask in enumerate(masks) if mask[y, x]]

    def rank(k):
        item = objects[k]
        level = 0 if item.category not in THINGS else 1 if item.is_crowd else 2
        return level, item.order if ordered else -masks[k].sum(), k

    if candidates:
        best = max(candidates, key=rank)
        return best if objects[best].category in THINGS else ('stuff', objects[best].category)
    segment = base.segments.get(int(base.ids[y, x]))
    if segment is None:
        return None
    return (('base', int(base.ids[y, x])) if segment.category in THINGS
            else ('stuff', segment.category))


@pytest.mark.parametrize('ordered', [False, True])
@pytest.mark.parametrize('seed', range(4))
def test_overlaps_follow_the_rule_at_every_pixel(seed, ordered):
    rng = np.random.default_rng(seed)
    masks, objects = [], []
    for _ in range(9):
        mask = np.zeros(SIZE, bool)
        y, x = rng.integers(0, 8, 2)
        mask[y:y + rng.integers(1, 6), x:x + rng.integers(1, 8)] = True
        masks.append(mask)
        objects.append(SourceObject(
            str(rng.choice(list(NAMES))), mask=mask, is_crowd=bool(rng.random() < .3),
            order=int(rng.integers(0, 3))))
    base = SourceMap(rng.integers(0, 4, SIZE), {
        1: MapSegment('sky'), 2: MapSegment('car'), 3: MapSegment('road', True)})
    content = ImageContent(objects, base)
    layers, outside = object_layers(content, SIZE, NAMES, 'a.json')
    flat = flatten(layers, map_segments(content, SIZE, NAMES, 'a.png'), SIZE, THINGS, ordered)
    assert outside == 0
    winner_of_index = {}
    for y in range(SIZE[0]):
        for x in range(SIZE[1]):
            wanted = pixel_winner(objects, masks, base, y, x, ordered)
            index = int(flat.index_map[y, x])
            assert winner_of_index.setdefault(index, wanted) == wanted
            if wanted is None:
                assert index == 0
            elif isinstance(wanted, int):
                assert flat.segments[index - 1] == (objects[wanted].category,
                                                    objects[wanted].is_crowd)
            else:
                assert flat.segments[index - 1].is_crowd is False
    # different winners have different segments, and none is without a pixel
    assert len(set(winner_of_index.values())) == len(winner_of_index)
    assert set(winner_of_index) - {0} == set(range(1, len(flat.segments) + 1))
    shown = {value for value in winner_of_index.values() if isinstance(value, int)}
    base_things = (base.ids == 2).any() and ('base', 2) not in winner_of_index.values()
    count = sum(item.category in THINGS for item in objects)
    assert flat.hidden == count - len(shown) + base_things


def test_smaller_covers_larger_unless_the_format_has_layers():
    small, large = np.zeros((2, *SIZE), bool)
    small[2:4, 2:4] = True
    large[:8, :8] = True
    content = ImageContent([SourceObject('dog', mask=small), SourceObject('car', mask=large)])
    layers, _ = object_layers(content, SIZE, NAMES, 'a.json')
    kept = flatten(layers, None, SIZE, THINGS, ordered=False)
    assert (kept.index_map[small] == kept.index_map[2, 2]).all() and kept.hidden == 0
    assert kept.segments[kept.index_map[2, 2] - 1].category == 'dog'
    covered = flatten(layers, None, SIZE, THINGS, ordered=True)
    assert [segment.category for segment in covered.segments] == ['car'] and covered.hidden == 1


def test_masks_and_instances_are_those_of_pycocotools():
    polygons = [square(1, 1, 7, 5), square(9, 2, 13.5, 8.25)]
    expected = rle_tools.decode(rle_tools.merge(rle_tools.frPyObjects(polygons, *SIZE)))
    uncompressed = dict(size=list(SIZE), counts=[3, 10, SIZE[0] * SIZE[1] - 13])
    content = ImageContent([
        SourceObject('car', [np.reshape(part, (-1, 2)) for part in polygons]),
        SourceObject('dog', rle=uncompressed, is_crowd=True),
        SourceObject('sky', [np.reshape(square(0, 0, 16, 2), (-1, 2))])])
    layers, _ = object_layers(content, SIZE, NAMES, 'a.json')
    entries = instance_entries(layers, None, THINGS, dict(car=1, dog=2, sky=3))
    assert [entry['category_id'] for entry in entries] == [1, 2]  # stuff is no instance
    car, dog = entries
    assert car['segmentation'] == polygons and car['area'] == expected.sum()
    rows, columns = np.nonzero(expected)
    assert car['bbox'] == [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
    crowd = np.zeros(SIZE[0] * SIZE[1], bool)
    crowd[3:13] = True  # run lengths go along the columns
    assert (rle_tools.decode(dog['segmentation']) == crowd.reshape(SIZE, order='F')).all()
    assert dog['iscrowd'] == 1 and dog['area'] == 10


def test_parts_with_one_key_are_one_object():
    left, right, other = (np.reshape(square(x, 2, x + 3, 6), (-1, 2)) for x in (1, 6, 11))
    content = ImageContent([
        SourceObject('car', [left], instance=5), SourceObject('dog', [other], instance=5),
        SourceObject('car', [right], instance=5), SourceObject('car', [other])])
    layers, _ = object_layers(content, SIZE, NAMES, 'a.json')
    assert [layer.category for layer in layers] == ['car', 'dog', 'car']
    both = rle_tools.decode(layers[0].rle)
    assert both[3, 2] and both[3, 7] and both.sum() == 24 and len(layers[0].polygons) == 2


def test_objects_outside_are_counted_and_dropped_classes_left_out():
    content = ImageContent([
        SourceObject('car', [np.reshape(square(100, 2, 110, 6), (-1, 2))]),
        SourceObject('dog', [np.reshape(square(1, 2, 5, 6), (-1, 2))])])
    layers, outside = object_layers(content, SIZE, {**NAMES, 'dog': None}, 'a.json')
    assert layers == [] and outside == 1


def test_background_is_a_stuff_segment():
    mask = np.zeros(SIZE, bool)
    mask[4:6, 4:6] = True
    layers, _ = object_layers(ImageContent([SourceObject('car', mask=mask)]), SIZE, NAMES, '')
    flat = flatten(layers, None, SIZE, THINGS, False)
    full = add_background(flat, 'sky')
    assert [segment.category for segment in full.segments] == ['car', 'sky']
    assert ((full.index_map == 2) == ~mask).all()
    assert add_background(full, 'sky') is full
    # one segment with what is sky already
    mixed = add_background(full._replace(index_map=np.where(mask, 0, full.index_map)), 'sky')
    assert len(mixed.segments) == 2 and (mixed.index_map == 2).all()


def test_label_maps_have_255_for_void(tmp_path):
    content = ImageContent(base=SourceMap(np.arange(192).reshape(SIZE) % 3, {
        1: MapSegment('car'), 2: MapSegment('sky')}))
    flat = flatten([], map_segments(content, SIZE, NAMES, ''), SIZE, THINGS, False)
    areas = write_labels(flat, tmp_path / 'a.png', dict(sky=1, car=2))
    from PIL import Image
    labels = np.asarray(Image.open(tmp_path / 'a.png'))
    expected = np.array([255, 1, 0], np.uint8)[np.arange(192).reshape(SIZE) % 3]
    assert labels.dtype == np.uint8 and (labels == expected).all() and areas == {1: 64, 2: 64}


def bad(**mask):
    return ImageContent([SourceObject('car', **mask, name='annotation 7')])


@pytest.mark.parametrize(('content', 'text'), [
    (ImageContent([SourceObject('cat', [])]),
     "a.json: object 1 has the class 'cat', which the list of classes lacks"),
    (bad(mask=np.zeros((3, 4), bool)),
     'a.json: annotation 7 has a mask of (height, width) (3, 4), its image has (12, 16)'),
    (bad(rle=dict(size=[16, 12], counts='1')),
     'a.json: annotation 7 has run lengths of (height, width) (16, 12), its image has (12, 16)'),
    (bad(rle=dict(size=[12, 16], counts=[5, 5])),
     'a.json: annotation 7 has run lengths that are not 12 x 16 pixels together; correct or remove '
     'it'),
    (bad(polygons=[np.zeros((2, 2))]),
     'a.json: annotation 7 has no polygon of three points or more; correct or remove it'),
    (bad(polygons=[np.array([[0, 0], [np.nan, 2], [3, 3]])]),
     'a.json: annotation 7 has a polygon whose points are not pairs of finite numbers; correct or '
     'remove it')])
def test_wrong_objects_are_named_in_one_line(content, text):
    with pytest.raises(SourceError) as error:
        object_layers(content, SIZE, NAMES, 'a.json')
    assert str(error.value) == text


@pytest.mark.parametrize('counts', ['PPPPPP', 'xyz!', ''])
def test_broken_run_lengths_are_named(counts):
    with pytest.raises(SourceError, match='a.json: annotation 7 has a mask that is no run lengths'):
        object_layers(bad(rle=dict(size=[12, 16], counts=counts)), SIZE, NAMES, 'a.json')


@pytest.mark.parametrize(('base', 'text'), [
    (SourceMap(np.zeros((3, 4), int), {}),
     'a.png is 4x3, its image is 16x12: both must have the same size'),
    (SourceMap(np.ones(SIZE, int), {1: MapSegment('cat')}),
     "a.png: value 1 has the class 'cat', which the list of classes lacks")])
def test_wrong_maps_are_named_in_one_line(base, text):
    with pytest.raises(SourceError) as error:
        map_segments(ImageContent(base=base), SIZE, NAMES, 'a.png')
    assert str(error.value) == text


def test_as_map_of_the_helpers_draws_numbers():
    mask = np.ones((2, 2), bool)
    assert as_map([('car', 0, mask)], 2, 2).tolist() == [['car1'] * 2] * 2
