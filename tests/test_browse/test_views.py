"""Originals and samples as arrays, numbers about them, and how they are selected."""
import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmpanseg.browse.display import choose_tones, to_rgb
from mmpanseg.browse.selection import by_index, labels_of, measure_annotation, select
from mmpanseg.browse.sources import build_dataset, classes_of, distinct_places, locate
from mmpanseg.browse.statistics import dense_mask, measure
from mmpanseg.browse.views import read_annotation, read_image, view_of_sample
from mmpanseg.engine.command_line import UsageError
from mmpanseg.structures import SegmentMap

from .small_sets import EVIL, NAMES, PIPELINE, SIZE, dataset_of, panoptic_maps, write_panoptic


@pytest.fixture
def build(config):
    return lambda *args, **options: build_dataset(config(*args, **options), 'train')


def test_original_of_panoptic_data(build):
    dataset = build()
    classes = classes_of(dataset)
    assert classes.names == ('ball', EVIL, 'sky') and classes.num_things == 2 and classes.has_void
    for number, (ids, segments) in enumerate(panoptic_maps()):
        results = read_image(dataset, number)
        found = read_annotation(dataset, results)
        assert found.crowds == {1}  # id 31
        for place, segment in enumerate(segments):
            np.testing.assert_array_equal(dense_mask(found.segments, place), ids == segment['id'])
        statistics = measure(found.segments, results['img'].shape[:2], found.crowds)
        counted = [s for s in segments if not s['iscrowd']]
        assert statistics.num_segments == len(counted) and statistics.num_crowds == 1
        assert statistics.void_share == pytest.approx((ids == 0).mean())
        areas = {s['id']: int((ids == s['id']).sum()) for s in counted}
        assert statistics.smallest == min(areas.values())
        assert statistics.smallest_at_stride == min(areas.values()) / 16
        for category in (1, 2, 3):
            own = [areas[s['id']] for s in counted if s['category_id'] == category]
            assert statistics.segments.get(category - 1, 0) == len(own)
            assert statistics.pixels.get(category - 1, 0) == sum(own)


def test_original_of_instances(build):
    dataset = build('instance')
    classes = classes_of(dataset)
    assert classes.num_things == 2 and not classes.has_void
    found = read_annotation(dataset, read_image(dataset, 0))
    assert found.crowds == {2} and found.segments.map is None  # two squares overlap
    expected = np.zeros((3, *SIZE), bool)
    expected[0, 4:24, 4:24] = expected[1, 10:30, 14:34] = expected[2, 30:40, 40:50] = True
    for place in range(3):
        np.testing.assert_array_equal(dense_mask(found.segments, place), expected[place])
    statistics = measure(found.segments, SIZE, found.crowds)
    assert statistics.overlap and statistics.num_segments == 2 and statistics.smallest == 400
    assert statistics.void_share == pytest.approx(1 - expected.any(0).mean())
    assert statistics.as_dict()['segments'] == {'0': 2}


def test_original_of_semantic_data(build):
    dataset = build('semantic')
    assert classes_of(dataset).num_things == 0
    by_name = {dataset.get_data_info(k)['img_id']: k for k in range(len(dataset))}
    ids, _ = panoptic_maps()[2]
    number = by_name[NAMES[2].removesuffix('.png')]
    found = read_annotation(dataset, read_image(dataset, number))
    assert found.segments.labels.tolist() == [0, 1, 2]
    balls = np.isin(ids, (1, 3, 31))
    np.testing.assert_array_equal(dense_mask(found.segments, 0), balls)
    np.testing.assert_array_equal(found.segments.map.numpy() == -1, ids == 0)
    assert measure(found.segments, SIZE).num_segments == 3


def test_what_the_loader_yields(build):
    dataset = build()
    classes = classes_of(dataset)
    np.random.seed(5)
    expected = dataset[0]
    view = view_of_sample(expected, classes)
    np.testing.assert_array_equal(view.image, expected['inputs'].permute(1, 2, 0).numpy())
    assert view.segments is expected['data_samples'].gt_segments
    bare = build(pipeline=[PIPELINE[0], dict(type='PackDetInputs', meta_keys=())])
    assert view_of_sample(bare[0], classes).segments is None
    with pytest.raises(ValueError, match='does not end with mmpanseg.PackPanopticInputs'):
        view_of_sample(dict(img=1), classes)


def test_empty_segments_and_maps_of_another_size():
    index = torch.full((8, 8), -1, dtype=torch.int32)
    index[:4, :4] = 1
    found = measure(SegmentMap(torch.tensor([0, 3]), map=index), (16, 16))
    assert (found.num_segments, found.num_empty, found.smallest) == (1, 1, 16)
    # the image is twice as large as the map: 64 pixels of it
    assert found.smallest_at_stride == 4 and found.void_share == 0.75
    nothing = measure(None, (4, 5))
    assert (nothing.num_segments, nothing.void_share, nothing.smallest_at_stride) == (0, 1, None)


def direct_counts():
    """(number of segments, smallest, void share) of each image, from its map."""
    return [(sum(not s['iscrowd'] for s in segments),
             min(int((ids == s['id']).sum()) for s in segments if not s['iscrowd']),
             float((ids == 0).mean())) for ids, segments in panoptic_maps()]


@pytest.mark.parametrize(('worst', 'column', 'sign'), [
    ('most-segments', 0, -1), ('smallest', 1, 1), ('most-void', 2, -1)])
def test_worst_images(build, worst, column, sign):
    dataset = build()
    found = select(distinct_places(dataset), frozenset(), worst, 4, 0)
    counts = direct_counts()
    expected = sorted(range(len(counts)), key=lambda k: (sign * counts[k][column], k))[:4]
    assert [place.number for place in found.places] == expected
    for place in found.places:
        measured = measure_annotation(place)
        assert (measured.num_segments, measured.smallest) == counts[place.number][:2]
        # crowds are covered in the original
        assert measured.void_share == pytest.approx(counts[place.number][2])


def test_classes_select_images(build):
    dataset = build()
    places, classes = distinct_places(dataset), classes_of(dataset)
    having = [k for k, (_, segments) in enumerate(panoptic_maps())
              if any(s['category_id'] == 2 and not s['iscrowd'] for s in segments)]
    found = select(places, labels_of(classes, [EVIL]), None, 24, 0)
    assert [place.number for place in found.places] == having
    seen = []
    select(places, labels_of(classes, [EVIL]), 'smallest', 1, 0, lambda *done: seen.append(done))
    assert seen == [('annotations', k, 6) for k in range(1, 7)]
    semantic = build('semantic')
    found = select(distinct_places(semantic), labels_of(classes_of(semantic), [EVIL]), None, 24, 0)
    assert {semantic.get_data_info(place.inner)['img_id'] for place in found.places} == {
        NAMES[k].removesuffix('.png') for k in having}
    instances = build('instance')
    with pytest.raises(UsageError, match='^no image has a segment of these classes$'):
        select(distinct_places(instances), frozenset([1]), None, 24, 0)


def test_seed_selects_images(build):
    places = distinct_places(build())
    chosen = {seed: tuple(p.number for p in select(places, frozenset(), None, 3, seed).places)
              for seed in (*range(8), 0)}
    assert len(set(chosen.values())) > 4
    assert all(len(numbers) == 3 and list(numbers) == sorted(numbers)
               for numbers in chosen.values())


def test_images_by_index_and_name(build):
    dataset = build()
    places = distinct_places(dataset)

    def find(indices=(), names=()):
        found = by_index(places, lambda k: locate(dataset, k), len(dataset), indices, names)
        return [place.number for place in found.places]

    assert find([3, 1], ['103', 'd', NAMES[2], 'images/a.png']) == [3, 1, 2, 0]
    with pytest.raises(UsageError, match=r'--image aa.png: .*; near names are a.png'):
        find(names=['aa.png'])
    with pytest.raises(UsageError, match=r'--index 6: the data set has 6 images, numbered 0 .. 5'):
        find([6])


def test_places_inside_wrappers(folder):
    inner = dataset_of(folder)
    other = dict(dataset_of(folder), indices=[4, 2])
    wrapped = dict(type='RepeatDataset', times=2, dataset=dict(
        type='ConcatDataset', datasets=[
            dict(type='ClassBalancedDataset', oversample_thr=1.0, dataset=inner), other]))
    dataset = build_dataset(Config(dict(train_dataloader=dict(dataset=wrapped))), 'train')
    names = [dataset[k]['data_samples'].img_path for k in range(len(dataset))]
    places = distinct_places(dataset)
    assert len(places) == 8 and len(dataset) > 16
    for place in [*places, locate(dataset, len(dataset) - 1)]:
        info = place.dataset.get_data_info(place.inner)
        assert info['img_path'] == names[place.number]
    assert classes_of(dataset).names == ('ball', EVIL, 'sky')


def test_unreadable_annotations_are_left_out(tmp_path, config):
    write_panoptic(tmp_path)
    (tmp_path / 'panoptic/4.png').write_bytes(b'no image')
    dataset = build_dataset(config(where=tmp_path), 'train')
    found = select(distinct_places(dataset), frozenset(), 'most-void', 10, 0)
    assert [p.number for p in found.places] == [5, 3, 2, 1, 0] and found.num_unreadable == 1


@pytest.mark.parametrize(('shape', 'dtype', 'channels', 'expected'), [
    ((4, 4, 3), np.uint8, (), (2, 1, 0)), ((4, 4), np.uint8, (), (0, 0, 0)),
    ((4, 4, 4), np.uint8, (), (2, 1, 0)), ((4, 4, 5), np.uint8, (), (0, 1, 2)),
    ((4, 4, 5), np.uint8, (4, 3, 0), (4, 3, 0)), ((4, 4, 2), np.uint8, (1, ), (1, 1, 1))])
def test_channels(shape, dtype, channels, expected):
    image = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
    tones = choose_tones(image, channels)
    assert tones.channels == expected
    picture = to_rgb(image, tones)
    planes = image.reshape(*shape[:2], -1)
    for place, channel in enumerate(expected):
        if planes.shape[2] in (1, 3, 4):
            np.testing.assert_array_equal(picture[..., place], planes[..., channel])
        else:  # stretched: the order of values remains
            order = planes[..., channel].ravel().argsort()
            assert (np.diff(picture[..., place].ravel()[order].astype(int)) >= 0).all()


def test_deep_images_are_stretched():
    image = np.linspace(1000, 3000, 400).reshape(20, 20).astype(np.uint16)
    tones = choose_tones(image)
    low, high = tones.limits[0]
    assert (low, high) == pytest.approx(tuple(np.percentile(image, (0.5, 99.5))))
    picture = to_rgb(image, tones)
    expected = ((image.astype(float) - low) * 255 / (high - low)).round().clip(0, 255)
    assert np.abs(picture[..., 0] - expected).max() <= 1
    # the loader yields float32, drawn by the same limits
    np.testing.assert_array_equal(to_rgb(image.astype(np.float32), tones), picture)
    broken = np.full((3, 3), np.nan, np.float32)
    assert not to_rgb(broken, choose_tones(broken)).any()
    # floats of 8-bit files are drawn as they are
    plain = np.full((2, 2, 3), 77.0, np.float32)
    assert (to_rgb(plain, choose_tones(plain, is_8_bit=True)) == 77).all()
    with pytest.raises(UsageError, match='--channels 7: the images have 1 channel, number 0'):
        choose_tones(image, (7, ))
