"""The repaired copy: what has one right answer is right there, everything else is as it was."""
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmpanseg.doctor.fixes.fix import fix_lines, fix_sources, read_things
from mmpanseg.doctor.run import run_doctor
from mmpanseg.structures.panoptic_png import rgb2id

from ..planted_mistakes import (
    CAR,
    HEIGHT,
    MAX_PIXELS,
    PERSON,
    WIDTH,
    Place,
    PlantedSet,
    plant_all,
    png,
)

# of these the copy has nothing left; all others need their author
REPAIRED = dict(
    panoptic=('wrong_type', 'side_of_zero_pixels', 'image_id_twice', 'no_isthing',
              'segment_id_twice', 'backslash', 'other_capitals', 'optional_key',
              'image_of_another_size', 'gray_map', 'map_of_16_bits',
              'map_with_transparency', 'map_with_palette', 'segment_without_pixel', 'wrong_area',
              'wrong_box'),
    instance=('object_id_twice', 'polygon_of_two_points', 'empty_mask', 'wrong_area_of_an_object',
              'wrong_box_of_an_object'),
    semantic=())


def files_below(folder):
    """Digest of each file below a folder."""
    paths = [Path(root, name) for root, _, names in os.walk(folder) for name in names]
    return {path.relative_to(folder).as_posix(): hashlib.md5(path.read_bytes()).hexdigest()
            for path in paths}


def problems_of(sources, root):
    report = run_doctor(sources, max_pixels=MAX_PIXELS, workers=0)
    return report, {(p.check, p.split, str(p.file).replace(str(root), ''), p.image_id,
                     p.segment_id) for p in report.problems}


@pytest.mark.parametrize('kind', REPAIRED)
def test_the_copy_has_only_what_needs_its_author(tmp_path, kind):
    root, out = tmp_path / 'data', tmp_path / 'out'
    data, places = plant_all(root, kind)
    _, found = problems_of(data.sources(), root)
    original = files_below(root)
    fixed = fix_sources(data.sources(), out, things=('person', 'car'), workers=0)
    report, left = problems_of(fixed.sources, out)
    gone = {(place.check, place.split, str(place.file).replace(str(root), ''), place.image_id,
             place.segment_id) for name in REPAIRED[kind] for place in places[name]}
    # the image that has an id of its own now has no annotation
    new = {entry for entry in left - found if entry[0] == 'PAN021'} if kind == 'panoptic' else set()
    assert left - new == found - gone and len(new) == (kind == 'panoptic')
    assert files_below(root) == original
    assert set(fixed.repaired) == {check for check, *_ in gone}
    lines = fix_lines(fixed, report)
    for check, count in fixed.repaired.items():
        assert any(line.startswith(f'repaired {count} x {check} ') for line in lines)
    for check, *_ in left:
        assert any(f' x {check} ' in line and line.startswith('for you') for line in lines)


@pytest.fixture
def small(tmp_path):
    return PlantedSet(tmp_path / 'data', train=0, val=0)


def fix(data, tmp_path, **options):
    """Write a set and repair it; the JSON of the copy, and what was repaired."""
    data.write()
    fixed = fix_sources(data.sources()[:1], tmp_path / 'out', workers=0, **options)
    return json.loads((tmp_path / 'out/train.json').read_text()), dict(fixed.repaired)


def test_numbers_are_those_of_the_pixels(small, tmp_path):
    for p in small.take(), small.take():
        for segment in p.segments:
            segment.update(area=1, bbox=[0, 0, 1, 1])
    content, repaired = fix(small, tmp_path)
    assert repaired == {'PAN212': 8, 'PAN213': 8}
    for annotation in content['annotations']:
        with Image.open(tmp_path / 'out/maps/train' / annotation['file_name']) as image:
            ids = rgb2id(np.asarray(image))
        for segment in annotation['segments_info']:
            rows, columns = np.nonzero(ids == segment['id'])
            assert segment['area'] == len(rows)
            assert segment['bbox'] == [columns.min(), rows.min(), np.ptp(columns) + 1,
                                       np.ptp(rows) + 1]


def test_the_map_decides_between_segments_of_one_id(small, tmp_path):
    p = small.take()
    person, car = p.segment(PERSON), p.segment(CAR)
    number, car['id'] = car['id'], person['id']
    content, repaired = fix(small, tmp_path)
    assert repaired == {'PAN022': 1}
    segments = content['annotations'][0]['segments_info']
    assert [s['id'] for s in segments if s['category_id'] == CAR] == [number]
    assert [s['id'] for s in segments if s['category_id'] == PERSON] == [person['id']]


def test_the_map_does_not_decide_between_equal_masks(small, tmp_path):
    p = small.take()
    p.segments.append(dict(p.segment(CAR), category_id=PERSON))
    content, repaired = fix(small, tmp_path)
    assert repaired == {} and len(content['annotations'][0]['segments_info']) == 5


def test_a_map_of_another_image_changes_nothing(small, tmp_path):
    """Its segments have no pixel, and its ids no segment: removing both would hide the mistake."""
    one, other = small.take(), small.take()
    one.ids, other.ids = other.ids + 5, one.ids + 5
    content, repaired = fix(small, tmp_path)
    assert repaired == {}
    assert [len(a['segments_info']) for a in content['annotations']] == [4, 4]


def test_ids_of_palette_indices_are_kept(small, tmp_path):
    p = small.take()
    for number, segment in enumerate(p.segments, 1):
        p.ids[p.ids == segment['id']] = number
        segment['id'] = number
    image = Image.fromarray(p.ids.astype(np.uint8))
    image.putpalette([200, 10, 10, 7, 8, 9, 1, 1, 1, 3, 3, 3, 90, 0, 0])
    image.save(tmp_path / 'palette.png')
    p.map_bytes = (tmp_path / 'palette.png').read_bytes()
    _, repaired = fix(small, tmp_path)
    assert repaired == {'PAN207': 1}
    with Image.open(tmp_path / 'out/maps/train' / p.annotation['file_name']) as image:
        assert image.mode == 'RGB' and (rgb2id(np.asarray(image)) == p.ids).all()


def test_copies_of_entries_are_removed(small, tmp_path):
    small.take()
    small.take()
    lists = small.lists['train']
    for key in ('images', 'annotations', 'categories'):
        lists[key] += [dict(lists[key][0])]
    content, repaired = fix(small, tmp_path)
    assert repaired == {'PAN009': 1, 'PAN010': 1, 'PAN011': 1, 'PAN012': 1, 'PAN013': 1}
    assert [len(content[key]) for key in ('images', 'annotations', 'categories')] == [2, 2, 4]


def test_images_of_one_id_get_the_annotations_of_their_names(small, tmp_path):
    one, other = small.take(), small.take()
    other.image['id'] = other.annotation['image_id'] = one.image['id']
    content, repaired = fix(small, tmp_path)
    assert repaired == {'PAN009': 1}
    names = {image['id']: image['file_name'][:-4] for image in content['images']}
    assert len(names) == 2
    assert all(names[a['image_id']] == a['file_name'][:-4] for a in content['annotations'])


def test_other_encodings_become_utf_8(small, tmp_path):
    small.take()
    small.write()
    path = tmp_path / 'data/train.json'
    text = path.read_text()
    path.write_text(text, encoding='utf-16')
    fixed = fix_sources(small.sources()[:1], tmp_path / 'out', workers=0)
    assert fixed.repaired == {'PAN003': 1}
    assert json.loads((tmp_path / 'out/train.json').read_bytes().decode()) == json.loads(text)


def test_isthing_without_a_list_stays(small, tmp_path):
    small.take()
    for category in small.lists['train']['categories']:
        del category['isthing']
    content, repaired = fix(small, tmp_path)
    assert repaired == {} and not any('isthing' in c for c in content['categories'])


def test_fast_leaves_maps_alone(small, tmp_path):
    p = small.take()
    p.segment(CAR)['area'] = 1
    p.image['file_name'] = f'day\\{p.image["file_name"]}'
    content, repaired = fix(small, tmp_path, fast=True)
    assert repaired == {'PAN027': 1}
    assert content['annotations'][0]['segments_info'][1]['area'] == 1 or any(
        s['area'] == 1 for s in content['annotations'][0]['segments_info'])


def test_equal_channels_of_label_maps_become_one(tmp_path):
    data = PlantedSet(tmp_path / 'data', 'semantic', 1, 0)
    p = data.take()
    p.map_bytes = png(np.repeat(p.ids.astype(np.uint8)[..., None], 3, 2))
    data.write()
    fixed = fix_sources(data.sources(), tmp_path / 'out', workers=0)
    assert fixed.repaired == {'PAN221': 1}
    with Image.open(tmp_path / 'out/maps/train' / p.annotation['file_name']) as image:
        assert (np.asarray(image) == p.ids).all()


def test_polygons_are_dropped_and_objects_without_one(tmp_path):
    data = PlantedSet(tmp_path / 'data', 'instance', 0, 0)
    one, other = data.take(), data.take()
    square = [10., 10., 40., 10., 40., 40., 10., 40.]
    one.objects[0].update(segmentation=[square, [1., 1., 2., 2.]], area=900, bbox=[10, 10, 30, 30])
    other.objects[0].update(segmentation=[[1., 1., 2., 2.]])
    content, repaired = fix(data, tmp_path)
    assert repaired == {'PAN302': 2}
    by_id = {a['id']: a for a in content['annotations']}
    assert by_id[one.objects[0]['id']]['segmentation'] == [square]
    assert other.objects[0]['id'] not in by_id and len(by_id) == 3


def test_files_that_stay_are_links(small, tmp_path):
    p = small.take()
    p.segment(CAR)['area'] = 1
    fix(small, tmp_path)
    out = tmp_path / 'out'
    assert not (out / 'train.json').is_symlink()
    for name in ('images/train/train_000.jpg', 'maps/train/train_000.png'):
        assert (out / name).is_symlink()
        assert (out / name).resolve() == (tmp_path / 'data' / name).resolve()


@pytest.mark.parametrize('name', ['data', 'data/images', 'data/new/folder', 'data/images/train'])
def test_a_folder_inside_of_the_data_is_refused(small, tmp_path, name):
    small.take()
    small.write()
    before = files_below(tmp_path)
    with pytest.raises(ValueError, match='is inside of the data set in .*; name a'):
        fix_sources(small.sources()[:1], tmp_path / name, workers=0)
    assert files_below(tmp_path) == before


def test_a_folder_with_files_is_refused(small, tmp_path):
    small.take()
    small.write()
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/file').touch()
    with pytest.raises(ValueError, match='out exists and is not empty; name a new folder'):
        fix_sources(small.sources()[:1], tmp_path / 'out', workers=0)


def test_an_interrupted_copy_leaves_nothing(small, tmp_path):
    small.take()
    small.write()
    before = files_below(tmp_path)

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fix_sources(small.sources()[:1], tmp_path / 'new/out', workers=0, progress=stop)
    assert files_below(tmp_path) == before and not (tmp_path / 'new').exists()


def test_a_repaired_map_is_never_written_outside_of_the_copy(small, tmp_path):
    p = small.take()
    p.annotation['file_name'] = '../../../elsewhere.png'
    p.map_bytes = png(np.zeros((HEIGHT, WIDTH, 4), np.uint8))
    small.write()
    before = files_below(tmp_path)
    fix_sources(small.sources()[:1], tmp_path / 'out', workers=0)
    after = files_below(tmp_path)
    assert {name: digest for name, digest in after.items() if not name.startswith('out/')} == before


def test_processes_repair_the_same(tmp_path):
    data, _ = plant_all(tmp_path / 'data', 'panoptic')
    one = fix_sources(data.sources(), tmp_path / 'one', workers=0)
    two = fix_sources(data.sources(), tmp_path / 'two', workers=2)
    assert one.repaired == two.repaired
    assert files_below(tmp_path / 'one') == files_below(tmp_path / 'two')


def test_names_of_things(tmp_path):
    (tmp_path / 'things.txt').write_text('person\n\n car \n')
    assert read_things(str(tmp_path / 'things.txt')) == read_things('person, car') == (
        'person', 'car')
    with pytest.raises(ValueError, match='has no name; write names separated by commas'):
        read_things(' , ')


def test_place_has_the_fields_of_a_problem():
    assert Place._fields == ('check', 'split', 'file', 'image_id', 'segment_id')
