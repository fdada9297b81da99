"""Result and Segment: what they say about maps and masks that are known."""
import gc
import pickle
import tracemalloc
import weakref

import numpy as np
import pytest
import torch
from pycocotools import mask as rle_tools

import mmpanseg
from mmpanseg import Result
from mmpanseg.results import Segment
from mmpanseg.structures.polygons import polygons_to_mask

from .conftest import CLASSES, INFOS, OUTPUTS, SIZE, make, make_instances, make_map, make_semantic


def test_names_of_the_package():
    assert mmpanseg.Result is Result and mmpanseg.Segment is Segment
    assert {'Result', 'Segment'} <= set(dir(mmpanseg))


def test_segments_of_a_map():
    ids, result = make_map(), make()
    assert [(s.id, s.label, s.score) for s in result] == [
        (info['id'], info['label'], info['score']) for info in INFOS]
    assert [s.name for s in result] == ['person', 'person', 'car', 'sky', 'road']
    assert [s.is_thing for s in result] == [True, True, True, False, False]
    for segment in result:
        mask = ids == segment.id
        rows, columns = np.nonzero(mask)
        assert segment.area == mask.sum()
        assert segment.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert (result.panoptic_map == ids).all() and result.panoptic_map.dtype == np.int32
    assert result.tasks == ('panoptic', )
    assert result.instances is None and result.semantic_map is None


@pytest.mark.parametrize('form', ['dense', 'encoded'])
@pytest.mark.parametrize('boxes', [True, False])
def test_instances(form, boxes):
    labels, scores, given, box = make_instances(form, boxes)
    masks = make_instances()[2]
    result = Result(SIZE, CLASSES, 2, instances=(labels, scores, given, box))
    assert result.segments == result.instances and result.tasks == ('instance', )
    assert [s.id for s in result] == [1, 2, 3]
    assert [s.label for s in result] == labels.tolist()
    assert [s.score for s in result] == scores.tolist()
    assert [s.area for s in result] == [300, 600, 0]
    assert [s.box for s in result] == [(10, 5, 30, 20), (20, 15, 50, 35), (0, 0, 0, 0)]
    assert all((s.mask() == mask).all() for s, mask in zip(result, masks))
    assert result.panoptic_map is None


def test_run_lengths_that_are_not_compressed():
    """Lists of counts, and counts as text: both as in COCO's JSON files."""
    mask = make_instances()[2][0]
    flat = mask.ravel('F')
    borders = [0, *(np.flatnonzero(flat[1:] != flat[:-1]) + 1).tolist(), flat.size]
    counts = np.diff(borders).tolist()
    text = rle_tools.encode(np.asfortranarray(mask, np.uint8))['counts'].decode()
    rles = [dict(size=list(SIZE), counts=value) for value in (counts, text)]
    result = Result(SIZE, CLASSES, 2, instances=([0, 0], [1, 1], rles, None))
    assert all((s.mask() == mask).all() and s.box == (10, 5, 30, 20) for s in result)


@pytest.mark.parametrize('masks', [np.zeros((0, *SIZE), bool), []])
def test_no_instances(masks):
    """None found is an empty list, none predicted is None."""
    result = Result(SIZE, CLASSES, 2, instances=([], [], masks, np.zeros((0, 4))))
    assert result.instances == [] == result.segments and result.tasks == ('instance', )
    assert result.summary() == 'no segments' and result.to_coco_instances() == []
    assert Result.from_json(result.to_json()).instances == []
    assert result.filter('car').instances == [] and len(result.to_coco_panoptic()[1]) == 3


def test_classes_of_a_semantic_map():
    labels, result = make_semantic(), make('semantic')
    assert [(s.id, s.label, s.name, s.score) for s in result] == [
        (1, 0, 'person', None), (3, 2, 'sky', None), (4, 3, 'road', None)]
    assert all((s.mask() == (labels == s.label)).all() for s in result)
    assert [s.area for s in result] == [(labels == k).sum() for k in (0, 2, 3)]
    assert (result.semantic_map == labels).all() and result.tasks == ('semantic', )


def test_all_outputs():
    result = make('all')
    assert [s.id for s in result] == [info['id'] for info in INFOS]
    assert [s.score for s in result.instances] == [0.5, 0.75, 0.125]
    assert [s.label for s in result.semantic_segments] == [0, 2, 3]
    assert result.tasks == ('panoptic', 'instance', 'semantic')


def test_masks_polygons_and_run_lengths_agree(any_result):
    for segment in any_result:
        mask = segment.mask()
        assert mask.dtype == bool and mask.shape == SIZE and mask.sum() == segment.area
        rle = segment.rle()
        assert rle == dict(size=list(SIZE), counts=rle_tools.encode(
            np.asfortranarray(mask, np.uint8))['counts'].decode())
        assert (rle_tools.decode(rle) == mask).all()
        polygons = segment.polygons()
        assert (polygons_to_mask(polygons, SIZE) == mask).all()
        if polygons:
            x1, y1, x2, y2 = segment.box
            corners = np.concatenate(polygons)
            assert corners.min(0).tolist() == [x1, y1] and corners.max(0).tolist() == [x2, y2]


def test_a_mask_belongs_to_the_caller(any_result):
    before = [segment.mask() for segment in any_result]
    for segment in any_result:
        segment.mask()[:] = True
    assert all((segment.mask() == mask).all() for segment, mask in zip(any_result, before))


def test_crop():
    result = make()
    car = result['car'][0]
    assert car.box == (44, 25, 58, 30)
    assert (car.crop() == result.image[25:30, 44:58]).all()
    assert (car.crop(3) == result.image[22:33, 41:60]).all()  # not beyond the right border
    car.crop()[:] = 0
    assert result.image[25:30, 44:58].any()
    assert make('instance')[2].crop(2).shape == (2, 2, 3)  # around an empty box


def test_a_sequence():
    result = make()
    assert len(result) == 5 and list(result) == result.segments
    assert result[0].id == 7 and result[-1].id == 9
    assert [s.id for s in result[1:3]] == [2, 300]
    assert [s.id for s in result['person']] == [7, 2] and result['road'][0].id == 9
    with pytest.raises(IndexError):
        result[5]
    with pytest.raises(KeyError, match="there is no class 'Persn'; did you mean 'person'"):
        result['Persn']
    assert not make('nothing') and make('empty').segments == []


def test_segments_are_values():
    one, same = make()[0], make()[0]
    assert one == same and hash(one) == hash(same) and one != make()[1]
    with pytest.raises(AttributeError):
        one.score = 1.0
    assert repr(one) == ("Segment(id=7, label=0, name='person', is_thing=True, score=0.9, "
                         'area=280, box=(5.0, 10.0, 20.0, 30.0))')


@pytest.mark.parametrize('options, kept', [
    (dict(), [7, 2, 300, 4, 9]),
    (dict(classes='person'), [7, 2]),
    (dict(classes=['car', 3]), [300, 9]),
    (dict(classes=2), [4]),
    (dict(classes=[]), []),
    (dict(min_score=0.5), [7, 300, 4, 9]),
    (dict(min_area=242), [7, 2, 4, 9]),
    (dict(min_area=243), [7, 4, 9]),
    (dict(things_only=True), [7, 2, 300]),
    (dict(classes=('person', 'sky'), min_score=0.3, things_only=True), [7])])
def test_filter(options, kept):
    result = make()
    found = result.filter(**options)
    assert [s.id for s in found] == kept
    ids = make_map()
    assert (found.panoptic_map == np.where(np.isin(ids, kept), ids, 0)).all()
    # the rest stays, and the original too
    assert found.image is result.image and found.speed == result.speed
    assert (found.path, found.image_id) == (result.path, result.image_id)
    assert len(result) == 5 and (result.panoptic_map == ids).all()


def test_filter_of_every_output():
    found = make('all').filter('person', min_area=1)
    assert [s.id for s in found] == [7, 2]
    assert [(s.id, s.name, s.area) for s in found.instances] == [(1, 'person', 300)]
    labels = make_semantic()
    assert (found.semantic_map == np.where(labels == 0, 0, -1)).all()
    # a semantic map has no scores
    assert len(make('semantic').filter(min_score=0.99)) == 3
    assert len(make('semantic').filter(min_area=301)) == 2
    assert [s.name for s in make('instance').filter(min_score=0.5)] == ['person', 'car']


def test_unknown_class_in_a_filter():
    with pytest.raises(ValueError, match="there is no class 'cars'; did you mean 'car'"):
        make().filter(['person', 'cars'])
    with pytest.raises(ValueError, match="no class 'xyz'; the classes are person, car, sky, road"):
        make().filter('xyz')
    with pytest.raises(ValueError, match=r'label 4 is none of 0 \.\. 3'):
        make().filter(4)


def test_tensors_are_copied_to_the_host():
    labels, scores, masks, boxes = make_instances()
    result = Result(
        torch.Size(SIZE), CLASSES, 2, panoptic=(torch.from_numpy(make_map()).long(), INFOS),
        instances=(torch.from_numpy(labels), torch.from_numpy(scores).bfloat16(),
                   torch.from_numpy(masks), torch.from_numpy(boxes)),
        semantic=torch.from_numpy(make_semantic()))
    assert result.cpu() is result and result.numpy() is result
    for array in (result.panoptic_map, result.semantic_map):
        assert isinstance(array, np.ndarray) and array.dtype == np.int32
    assert [s.score for s in result.instances] == scores.tolist()
    assert all(type(s.score) is float and type(s.label) is int for s in result.instances)
    assert result.to_dict()['segments'] == make('all').to_dict()['segments']


def test_summary_and_repr():
    assert make().summary() == '2 person, 1 car, sky, road'
    assert make('instance').summary() == '2 person, 1 car'
    assert make('semantic').summary() == 'sky, road, person'
    assert make('nothing').summary() == make('empty').summary() == 'no segments'
    assert repr(make()) == '<Result of folder/000123.jpg, 40 x 60: 2 person, 1 car, sky, road>'


def test_pickle(any_result):
    again = pickle.loads(pickle.dumps(any_result))
    assert again.to_dict() == any_result.to_dict()
    assert all((one.mask() == other.mask()).all() for one, other in zip(again, any_result))


def test_no_cycle_keeps_a_result_in_memory():
    """A stream of results needs the memory of one, without waiting for the garbage collector."""
    result = Result(SIZE, CLASSES, 2, panoptic=(make_map(), INFOS), instances=make_instances(),
                    semantic=make_semantic(), image=make().image)
    result[0].polygons(), result.instances, result.table(), result.to_dict(), result.filter(0)
    watched = weakref.ref(result), weakref.ref(result.panoptic_map), weakref.ref(result.image)
    gc.disable()
    try:
        del result
        assert all(reference() is None for reference in watched)
    finally:
        gc.enable()


@pytest.mark.parametrize('kind', OUTPUTS)
def test_every_method_works_on_every_kind(kind, tmp_path):
    result = make(kind)
    assert len(result.filter(things_only=True)) == sum(s.is_thing for s in result)
    assert result.plot(min_side=0).shape == (*SIZE, 3)
    result.save(tmp_path / 'a.png')
    result.save(tmp_path / 'a.json')
    assert len(result.to_dict()['segments']) == len(result)
    assert result.to_coco_panoptic()[0].shape == (*SIZE, 3)
    assert isinstance(result.to_coco_instances(), list)
    assert result.table().row_count == len(result)
    assert '<table>' in result._repr_html_() and result._repr_png_()[:4] == b'\x89PNG'


def test_a_large_image_with_many_segments_makes_no_masks():
    """The map is read once, as runs, whatever the number of segments."""
    centers = np.random.default_rng(0).random((60, 2)) * (500, 750)
    y, x = np.mgrid[:500, :750]
    nearest = np.argmin([(y - a) ** 2 + (x - b) ** 2 for a, b in centers], 0) + 1
    ids = np.kron(nearest, np.ones((4, 4), np.int32)).astype(np.int32)
    infos = [dict(id=k, label=k % 4, score=0.5) for k in range(1, 61)]
    tracemalloc.start()
    try:
        result = Result(ids.shape, CLASSES, 2, panoptic=(ids, infos))
        segments = result.segments
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # 60 masks have 360 MB; the borders of runs and a mask of them need less than two
    assert peak < 2 * ids.size
    assert len(segments) == 60 and sum(s.area for s in segments) == ids.size
    assert result.panoptic_map is ids
