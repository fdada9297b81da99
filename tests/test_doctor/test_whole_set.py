"""Checks of several images and splits."""
import random
from dataclasses import replace

import pytest

from mmpanseg.doctor.lists.files import Folders, unlisted_files
from mmpanseg.doctor.lists.listing import Listing
from mmpanseg.doctor.pixels.inspect_image import ImageStatistics
from mmpanseg.doctor.problem import Severity
from mmpanseg.doctor.sets import leakage
from mmpanseg.doctor.sets.leakage import check_leakage, check_twice, near_pairs
from mmpanseg.doctor.sets.statistics import SeenImage, SourceStatistics
from mmpanseg.doctor.sets.whole_set import (
    balance_table,
    check_balance,
    check_classes,
    check_images,
    roles_of,
)
from mmpanseg.doctor.source import ImageRecord, Source

NAMES = ('person', 'car', 'sky')


def source(split='train', classes=NAMES, images=100, segments=(90, 40, 100), **options):
    """Statistics of a source whose images have a digest and a hash of their own."""
    listing = Listing(
        Source(split, 'panoptic', f'{split}.json', f'/{split}', **options), [],
        num_images=images, classes=classes, names=dict(enumerate(classes)))
    listing.segments.update(dict(zip(classes, segments)))
    listing.images_with.update(dict(zip(classes, segments)))
    return SourceStatistics(listing)


def image(number, split='train', **options):
    given = dict(size=(8, 12), channels=3, depth=8, digest=f'{split}{number}',
                 perceptual_hash=random.Random(f'{split}{number}').getrandbits(64))
    return ImageStatistics(**dict(dict(given, split=split, image_id=number,
                                       file_name=f'{split}{number}.png'), **options))


def add(statistics, *images):
    for seen in images:
        statistics.add(seen)
        statistics.listing.records.append(ImageRecord(
            seen.image_id, seen.file_name, f'/{seen.split}/{seen.file_name}'))
    return statistics


def described(problems):
    return [(p.check, p.split, p.file, p.image_id, p.severity.name) for p in problems]


def test_clean_splits_have_no_problem():
    train = add(source('train'), *(image(n) for n in range(20)))
    val = add(source('val'), *(image(n, 'val') for n in range(20)))
    roles = roles_of([train, val])
    assert described(check_classes(roles)) == described(check_images([train, val])) == []
    for fast in (True, False):
        assert described(check_leakage(roles['train'], roles['val'], fast)) == []
    assert described(check_twice(roles['train'])) == []
    assert described(check_balance(roles['train'], roles['val'])) == []


def test_the_same_bytes_in_both_splits():
    train = add(source('train'), image(1), image(2))
    val = add(source('val'), image(3, 'val'), image(4, 'val', digest='train2'))
    roles = roles_of([train, val])
    found = list(check_leakage(roles['train'], roles['val'], False))
    assert described(found) == [('PAN402', 'val', 'val4.png', 4, 'ERROR')]
    assert 'train2.png' in found[0].text


def test_the_same_name_in_both_splits():
    train = add(source('train'), image(1))
    twin = image(1, 'val', file_name='train1.png')
    val = add(source('val'), twin)
    ours, theirs = roles_of([train, val]).values()
    assert described(check_leakage(ours, theirs, True)) == [
        ('PAN401', 'val', 'train1.png', 1, 'WARNING')]
    assert described(check_leakage(ours, theirs, False)) == [
        ('PAN401', 'val', 'train1.png', 1, 'NOTE')]
    val.listing.records[0] = val.listing.records[0]._replace(path='/train/../train/train1.png')
    assert described(check_leakage(ours, theirs, True)) == [
        ('PAN402', 'val', 'train1.png', 1, 'ERROR')]


def test_look_alikes_in_both_splits():
    code = image(1).perceptual_hash
    train = add(source('train'), image(1), image(2))
    val = add(source('val'), image(3, 'val', perceptual_hash=code ^ 0b100000000000000000001),
              image(4, 'val', perceptual_hash=None),
              image(5, 'val', perceptual_hash=code ^ 0b1111))
    ours, theirs = roles_of([train, val]).values()
    found = list(check_leakage(ours, theirs, False))
    assert described(found) == [('PAN403', 'val', 'val3.png', 3, 'WARNING'),
                                ('PAN403', 'val', 'val5.png', 5, 'NOTE')]
    assert 'train1.png' in found[0].text and '2 of 64 bits' in found[0].text


def test_look_alikes_are_those_of_all_pairs():
    """Against the distance of every pair."""
    draw = random.Random(3)
    others = [SeenImage(n, '', '', draw.getrandbits(64)) for n in range(200)]
    images = []
    for n in range(200):
        code = others[n].perceptual_hash
        for bit in draw.sample(range(64), n % 10):
            code ^= 1 << bit
        images.append(SeenImage(n, '', '', code))
    expected = {}
    for seen in images:
        distances = [(seen.perceptual_hash ^ other.perceptual_hash).bit_count()
                     for other in others]
        if min(distances) <= leakage.DISTANCE:
            expected[seen.image_id] = distances.index(min(distances)), min(distances)
    found = {seen.image_id: (other.image_id, distance)
             for seen, other, distance in near_pairs(images, others)}
    assert found == expected and 130 < len(found) < 150


def test_one_annotation_file_for_both_splits_is_one_problem():
    train = add(source('train'), image(1))
    val = add(source('val'), image(1))
    val.listing.source = replace(train.listing.source, split='val')
    ours, theirs = roles_of([train, val]).values()
    for fast in (True, False):
        assert described(check_leakage(ours, theirs, fast)) == [
            ('PAN404', 'val', 'train.json', None, 'WARNING')]


def test_the_same_bytes_twice_in_a_split():
    train = add(source('train'), image(1), image(2, digest='train1'))
    second = add(source('train 2'), image(3, 'train 2', digest='train1'))
    role = roles_of([train, second])['train']
    assert described(check_twice(role)) == [
        ('PAN405', 'train', 'train2.png', 2, 'WARNING'),
        ('PAN405', 'train 2', 'train 23.png', 3, 'WARNING')]


def test_classes_without_segments():
    roles = roles_of([source('train', segments=(90, 0, 100)), source('val', segments=(0, 5, 9))])
    found = list(check_classes(roles))
    assert described(found) == [('PAN406', 'train', None, None, 'WARNING'),
                                ('PAN406', 'val', None, None, 'NOTE')]
    assert [p.text for p in found] == [
        "'car' has no segment", "'person' has no segment, so it is left out of scores"]


def test_many_classes_without_segments_are_one_problem():
    classes = tuple(f'class {n}' for n in range(30))
    found = list(check_classes(roles_of([source('train', classes, segments=(9, 9))])))
    assert described(found) == [('PAN406', 'train', None, None, 'WARNING')]
    assert found[0].text.startswith("28 of 30 classes have no segment: 'class 2', 'class 3'")


def test_classes_with_few_segments():
    assert described(check_classes(roles_of([source(segments=(90, 4, 100))]))) == [
        ('PAN407', 'train', None, None, 'NOTE')]
    assert described(check_classes(roles_of([source(segments=(9, 4, 10), images=10)]))) == []


@pytest.mark.parametrize(('val', 'different'), [
    ((90, 40, 100), False), ((90, 85, 100), True), ((90, 10, 100), True), ((90, 30, 100), False)])
def test_shares_of_a_class(val, different):
    roles = roles_of([source('train'), source('val', segments=val)])
    found = list(check_balance(roles['train'], roles['val']))
    assert [p.check for p in found] == ['PAN408'] * different
    if found:
        assert found[0].text.startswith("'car' is in 40% of the images of train and in")


def test_small_sets_have_no_shares():
    roles = roles_of([source('train', images=19, segments=(9, 1, 9)),
                      source('val', segments=(90, 90, 90))])
    assert described(check_balance(roles['train'], roles['val'])) == []


def test_the_balance_table():
    train, val = source('train', segments=(3, 2, 1)), source('val', segments=(1, 0, 0))
    add(train, image(1, pixels={0: 5, 2: 7}))
    assert balance_table(roles_of([train, val]))[0] == dict(
        name='person', train=dict(images=3, segments=3, pixels=5),
        val=dict(images=1, segments=1, pixels=0))


@pytest.mark.parametrize(('classes', 'text'), [
    (('car', 'person', 'sky'), "label 0 is 'car', in train it is 'person'"),
    (('person', 'car', 'road'), "against train it lacks 'sky' and adds 'road'")])
def test_sources_with_other_classes(classes, text):
    found = list(check_classes(roles_of([source('train'), source('val', classes)])))
    assert described(found) == [('PAN412', 'val', 'val.json', None, 'ERROR')]
    assert text in found[0].text


def test_a_model_of_other_classes():
    found = list(check_classes(roles_of([source(num_classes=4)])))
    assert described(found) == [('PAN413', 'train', 'train.json', None, 'ERROR')]
    assert 'the model has 4 classes, the data set 3' in found[0].text


def test_mixed_images():
    train = add(source(), image(1), image(2), image(3, channels=1), image(4, depth=16))
    assert [(p.check, p.severity, p.text) for p in check_images([train])] == [
        ('PAN410', Severity.NOTE, '3 images of 3 channels, 1 image of 1 channel (train3.png)'),
        ('PAN411', Severity.WARNING, '3 images of 8 bits, 1 image of 16 bits (train4.png)')]
    raw = add(source(color_type='unchanged'), image(1), image(2, channels=4))
    assert [(p.check, p.severity) for p in check_images([raw])] == [
        ('PAN410', Severity.WARNING)]


def test_semantic_segments_are_counted_from_pixels():
    listing = Listing(Source('train', 'semantic', img_prefix='i', seg_prefix='m', num_queries=2),
                      [], num_images=2, classes=NAMES, names=dict(enumerate(NAMES)))
    statistics = SourceStatistics(listing)
    statistics.add(image(1, segments={0: 1, 2: 1}, num_segments=2, void_share=0.5))
    statistics.add(image(2, segments={0: 1, 1: 1, 2: 1, 9: 1}, num_segments=3, void_share=0.))
    assert statistics.segments == dict(person=2, car=1, sky=2) == statistics.images_with
    assert described(check_images([statistics])) == [
        ('PAN409', 'train', 'train2.png', 2, 'WARNING')]
    assert statistics.as_dict() | dict(smallest_size=0, largest_size=0) == dict(
        split='train', kind='semantic', ann_file=None, img_prefix='i', seg_prefix='m', images=2,
        segments=5, classes=3, smallest_size=0, largest_size=0, channels={'3': 2},
        bits={'8': 2}, void_share=0.25)


@pytest.mark.parametrize(('classes', 'pixels', 'options', 'found'), [
    (('a', 'b'), {0: 5}, {}, True), (('a', ), {0: 5}, {}, True), (('a', ), {}, {}, False),
    (('a', 'b'), {0: 5, 1: 1}, {}, False), (NAMES, {0: 5}, {}, False),
    (('a', 'b'), {0: 5}, dict(label_map={0: 0, 255: 255}), False),
    (('a', 'b'), {0: 5}, dict(reduce_zero_label=True), False)])
def test_binary_masks(classes, pixels, options, found):
    listing = Listing(Source('train', 'semantic', seg_prefix='m', **options), [], num_images=1,
                      classes=classes, names=dict(enumerate(classes)))
    statistics = SourceStatistics(listing)
    statistics.add(image(1, pixels=pixels, void_share=0.5))
    assert described(check_images([statistics])) == [
        ('PAN222', 'train', 'm', None, 'ERROR')] * found


def test_files_that_nothing_lists(tmp_path):
    for name in ('images/a.png', 'images/b.JPG', 'images/notes.txt', 'images/.c.png',
                 'maps/a.png', 'maps/b.png'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    images, maps = tmp_path / 'images', tmp_path / 'maps'
    folders = Folders()
    folders.listed[str(images)].add('a.png')
    folders.listed[str(maps)].add('b.png')
    found = unlisted_files(
        [Source('train', 'panoptic', img_prefix=str(images), seg_prefix=f'{maps}/')], folders)
    assert [(p.check, p.file) for p in found] == [('PAN033', str(images)), ('PAN034', str(maps))]
    assert found[0].text == f'1 of 4 files in {images} are listed by no image of train: b.JPG'
