"""Panoptic quality of files, against the official evaluation's numbers."""
import json
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmpanseg.evaluation import PanopticDataError, pq_compute
from mmpanseg.evaluation.pq_compute import IMAGES_PER_PROCESS
from mmpanseg.structures import id2rgb


def assert_same(results: dict, expected: dict) -> None:
    assert list(results) == ['All', 'per_class', 'Things', 'Stuff']
    for group in ('All', 'Things', 'Stuff'):
        assert results[group] == pytest.approx(expected[group], rel=0, abs=1e-12)
    assert {str(category) for category in results['per_class']} == set(expected['per_class'])
    for category, quality in results['per_class'].items():
        assert isinstance(category, int)
        assert quality == pytest.approx(expected['per_class'][str(category)], rel=0, abs=1e-12)


@pytest.mark.parametrize('name', ['a', 'b_absent_class'])
@pytest.mark.parametrize('num_processes', [None, 1])
def test_official_numbers(golden, name, num_processes):
    folder = golden / 'panoptic_quality' / name
    expected = json.loads((folder / 'expected.json').read_text())
    assert_same(pq_compute(str(folder / 'gt.json'), str(folder / 'pred.json'),
                           num_processes=num_processes), expected)
    assert_same(pq_compute(folder / 'gt.json', folder / 'pred.json', folder / 'gt',
                           folder / 'pred'), expected)


class DataSet:
    """A small data set on disk, whose JSON a test can spoil before it is written.

    Two images of 4x6: the left half is a thing (category 3), the right half stuff (category 8);
    in the prediction the same with other ids.
    """

    def __init__(self, folder: Path, images: int = 2) -> None:
        self.folder = folder
        self.gt = dict(categories=[dict(id=3, name='ball', isthing=1),
                                   dict(id=8, name='sky', isthing=0)], annotations=[])
        self.pred = dict(annotations=[])
        for side, ids in (('gt', (500, 70000)), ('pred', (1, 2))):
            (folder / side).mkdir()
            for image_id in range(images):
                getattr(self, side)['annotations'].append(dict(
                    image_id=image_id, file_name=f'{image_id}.png',
                    segments_info=[dict(id=ids[0], category_id=3), dict(id=ids[1], category_id=8)]))
                self.paint(side, image_id, np.repeat([ids], 4, axis=0).repeat(3, axis=1))

    def paint(self, side: str, image_id: int, ids: np.ndarray) -> None:
        Image.fromarray(id2rgb(np.array(ids))).save(self.folder / side / f'{image_id}.png')

    def compute(self, **kwargs) -> dict:
        for side in ('gt', 'pred'):
            (self.folder / f'{side}.json').write_text(json.dumps(getattr(self, side)))
        return pq_compute(self.folder / 'gt.json', self.folder / 'pred.json', **kwargs)


@pytest.fixture()
def data(tmp_path) -> DataSet:
    return DataSet(tmp_path)


PERFECT = dict(pq=1, sq=1, rq=1)
NOTHING = dict(pq=0, sq=0, rq=0)


def test_perfect_prediction(data):
    assert data.compute() == {
        'All': dict(PERFECT, n=2), 'per_class': {3: PERFECT, 8: PERFECT},
        'Things': dict(PERFECT, n=1), 'Stuff': dict(PERFECT, n=1)}


def test_empty_prediction(data):
    for pred in data.pred['annotations']:
        pred['segments_info'] = []
        data.paint('pred', pred['image_id'], np.zeros((4, 6), int))
    assert data.compute()['All'] == dict(NOTHING, n=2)


def test_all_void_ground_truth(data):
    for gt in data.gt['annotations']:
        gt['segments_info'] = []
        data.paint('gt', gt['image_id'], np.zeros((4, 6), int))
    assert data.compute()['All'] == dict(NOTHING, n=0)


def test_no_annotated_image_and_no_stuff_class(data):
    data.gt = dict(categories=data.gt['categories'][:1], annotations=[])
    results = data.compute()
    assert results['All'] == results['Stuff'] == dict(NOTHING, n=0)
    assert results['per_class'] == {3: NOTHING}


def test_images_that_are_not_annotated_are_left_out(data):
    del data.gt['annotations'][1]
    assert data.compute()['All'] == dict(PERFECT, n=2)


def test_variants(data):
    results = data.compute(boundary_width=0.02, by_size=True)
    plain = data.compute()
    assert {key: results[key] for key in plain} == plain
    assert results['Boundary'] == results['Small'] == plain
    assert results['Medium'] == results['Large'] == {
        'All': dict(NOTHING, n=0), 'per_class': {3: NOTHING, 8: NOTHING},
        'Things': dict(NOTHING, n=0), 'Stuff': dict(NOTHING, n=0)}
    with pytest.raises(ValueError, match='boundary_width=0 must be'):
        data.compute(boundary_width=0)


def test_variants_without_any_image(data):
    data.gt['annotations'] = []
    results = data.compute(boundary_width=0.02, by_size=True)
    for part in (results, *(results[key] for key in ('Boundary', 'Small', 'Medium', 'Large'))):
        assert part['All'] == dict(NOTHING, n=0)


def spoil_missing_prediction(data):
    del data.pred['annotations'][1]


def spoil_category(data):
    data.pred['annotations'][1]['segments_info'][0]['category_id'] = 4


def spoil_gt_category(data):
    data.gt['annotations'][1]['segments_info'][0]['category_id'] = 4


def spoil_listed(data):
    data.pred['annotations'][1]['segments_info'].append(dict(id=77, category_id=3))


def spoil_unlisted(data):
    del data.pred['annotations'][1]['segments_info'][0]


def spoil_gt_listed(data):
    data.gt['annotations'][1]['segments_info'].append(dict(id=77, category_id=3))


def spoil_size(data):
    data.paint('pred', 1, np.repeat([[1, 2]], 4, axis=0))


def spoil_keys(data):
    del data.gt['categories']


def spoil_text_id(data):
    data.pred['annotations'][1]['segments_info'][0]['id'] = '1'


def spoil_float_id(data):
    data.pred['annotations'][1]['segments_info'][0]['id'] = 1.5


def spoil_negative_id(data):
    data.pred['annotations'][1]['segments_info'][0]['id'] = -1


def spoil_large_id(data):
    data.pred['annotations'][1]['segments_info'][0]['id'] = 1 << 24


def spoil_true_id(data):
    data.pred['annotations'][1]['segments_info'][0]['id'] = True


def spoil_text_category(data):
    data.pred['annotations'][1]['segments_info'][0]['category_id'] = '3'


def spoil_list_category(data):
    data.pred['annotations'][1]['segments_info'][0]['category_id'] = [3]


def spoil_text_image(data):
    data.pred['annotations'][1]['image_id'] = '1'


def spoil_segment_keys(data):
    del data.pred['annotations'][1]['segments_info'][1]['category_id']


def spoil_annotation_keys(data):
    del data.pred['annotations'][1]['segments_info']


def spoil_isthing(data):
    del data.gt['categories'][1]['isthing']


def spoil_list(data):
    data.pred['annotations'] = dict(enumerate(data.pred['annotations']))


def spoil_twice(data):
    data.pred['annotations'].append(data.pred['annotations'][1])


@pytest.mark.parametrize('spoil, message', [
    (spoil_missing_prediction, r'no prediction for the image with id 1 \(1.png\)'),
    (spoil_category, 'image 1: segment 1 of prediction 1.png has unknown category_id 4'),
    (spoil_gt_category, 'image 1: segment 500 of ground truth 1.png has unknown category_id 4'),
    (spoil_listed, r'image 1: segment\(s\) \[77\] of prediction 1.png .* no pixel'),
    (spoil_unlisted, r'image 1: segment\(s\) \[1\] are in the map of prediction 1.png but not'),
    (spoil_gt_listed, r'image 1: segment\(s\) \[77\] of ground truth 1.png .* no pixel'),
    (spoil_size, 'image 1: prediction 1.png has 2x4 pixels, but ground truth 1.png has 6x4'),
    (spoil_keys, "gt.json has no 'categories'"),
    (spoil_text_id, "pred.json: image 1: segments_info lists id '1'; segment ids must be whole"),
    (spoil_float_id, 'pred.json: image 1: segments_info lists id 1.5'),
    (spoil_negative_id, 'pred.json: image 1: segments_info lists id -1'),
    (spoil_large_id, 'pred.json: image 1: segments_info lists id 16777216'),
    (spoil_true_id, 'pred.json: image 1: segments_info lists id True'),
    (spoil_text_category, "image 1: segment 1 of prediction 1.png has unknown category_id '3'"),
    (spoil_list_category,
     r'pred.json: image 1: .*entry 0 has category_id \[3\], which is not an id'),
    (spoil_text_image, r"no prediction .* id 1 .*the file has '1', of type str"),
    (spoil_segment_keys, "pred.json: image 1: segments_info: entry 1 has no 'category_id'"),
    (spoil_annotation_keys, """pred.json: "annotations": entry 1 has no 'segments_info'"""),
    (spoil_isthing, """gt.json: "categories": entry 1 has no 'isthing'"""),
    (spoil_list, 'pred.json: "annotations" must be a list, got dict'),
    (spoil_twice, 'pred.json: image 1 has two annotations'),
])
def test_contradictory_data(data, spoil, message):
    spoil(data)
    with pytest.raises(PanopticDataError, match=message):
        data.compute()


def double_image(data):
    data.gt['images'] = [dict(id=0, file_name='0.jpg'), dict(id=0, file_name='1.jpg')]


def double_category(data):
    data.gt['categories'][0]['id'] = 8


def text_crowd(data):
    data.gt['annotations'][0]['segments_info'][0]['iscrowd'] = '1'


@pytest.mark.parametrize('spoil, message', [
    (double_image, "gt.json: image 0 is listed twice, as '0.jpg' and '1.jpg'"),
    (double_category, "gt.json: categories 'ball' and 'sky' have the same id 8"),
    (text_crowd, "gt.json: .* has \"iscrowd\" '1'; it must be 0 or 1")])
def test_entries_of_the_wrong_kind(data, spoil, message):
    spoil(data)
    with pytest.raises(ValueError, match=message):
        data.compute()


def test_transparent_maps(data):
    expected = data.compute()
    for path in data.folder.glob('*/*.png'):
        image = Image.open(path).convert('RGBA')
        image.putalpha(70)
        image.save(path)
    assert Image.open(data.folder / 'pred/0.png').mode == 'RGBA'
    assert data.compute() == expected


def test_broken_files(data):
    (data.folder / 'pred/1.png').write_bytes(b'')
    with pytest.raises(ValueError, match='pred/1.png is an empty file'):
        data.compute()
    (data.folder / 'pred/1.png').unlink()
    with pytest.raises(FileNotFoundError, match='pred/1.png does not exist'):
        data.compute()
    with pytest.raises(NotADirectoryError, match='elsewhere.*pred_folder'):
        data.compute(pred_folder=data.folder / 'elsewhere')
    (data.folder / 'pred.json').write_text('{"annotations": [')
    with pytest.raises(ValueError, match='pred.json is not valid JSON'):
        pq_compute(data.folder / 'gt.json', data.folder / 'pred.json')


def name_images(data, pred_ids, pred_names, categories=((3, 'ball'), (8, 'sky'))):
    """Say in both files which image has which id, with the predictions' ids as given."""
    data.gt['images'] = [dict(id=k, file_name=f'{"ab"[k]}/1.jpg') for k in range(2)]
    data.pred['images'] = [dict(id=number, file_name=name)
                           for number, name in zip(pred_ids, pred_names)]
    data.pred['categories'] = [dict(id=number, name=name) for number, name in categories]
    for number, annotation in zip(pred_ids, data.pred['annotations']):
        annotation['image_id'] = number


def test_images_and_categories_by_name(data):
    """Invented ids, some of them another image's: names decide."""
    for image_id, ids in enumerate(((1, 2), (2, 1))):
        for side in ('gt', 'pred'):
            data.paint(side, image_id, np.repeat([ids], 4, axis=0).repeat(3, axis=1))
        data.gt['annotations'][image_id]['segments_info'] = [
            dict(id=1, category_id=3), dict(id=2, category_id=8)]
    expected = data.compute()
    assert expected['All'] == dict(PERFECT, n=2)
    # the predictions of a/1.jpg and b/1.jpg, listed the other way round
    name_images(data, (1, 0), ('photos/a/1.png', '/home/x/b/1.png'), ((8, 'ball'), (3, 'sky')))
    for annotation in data.pred['annotations']:
        for segment in annotation['segments_info']:
            segment['category_id'] = 11 - segment['category_id']
    assert data.compute() == expected
    # one more image and class do not matter
    data.pred['images'].append(dict(id=7, file_name='c/9.png'))
    data.pred['categories'].append(dict(id=9, name='cloud'))
    assert data.compute() == expected


def test_names_that_contradict_ids(data):
    name_images(data, (0, 1), ('a/1.jpg', 'b/2.jpg'))
    with pytest.raises(PanopticDataError, match='image id 1 is that of b/2.jpg, but of b/1.jpg'):
        data.compute()
    name_images(data, (5, 6), ('1.jpg', '1.jpg'))
    with pytest.raises(PanopticDataError, match='no prediction for the image with id 0'):
        data.compute()
    name_images(data, (0, 1), ('a/1.jpg', 'b/1.jpg'), ((3, 'cat'), (8, 'sky')))
    with pytest.raises(PanopticDataError, match="category 3 is 'cat', which the ground truth does"):
        data.compute()


def test_maps_beside_their_json(data):
    expected = data.compute()
    (data.folder / 'pred.json').rename(data.folder / 'pred/panoptic.json')
    assert pq_compute(data.folder / 'gt.json', data.folder / 'pred/panoptic.json') == expected


@pytest.fixture()
def many(tmp_path) -> DataSet:
    """Enough images for two processes; half of the predictions mistake the ball for sky."""
    data = DataSet(tmp_path, images=2 * IMAGES_PER_PROCESS)
    for pred in data.pred['annotations'][::2]:
        pred['segments_info'][0]['category_id'] = 8
    return data


def test_processes_agree(many):
    # data loaders of earlier tests may still have theirs
    others = set(multiprocessing.active_children())
    results = many.compute(num_processes=2)
    assert results == many.compute(num_processes=1)
    options = dict(boundary_width=0.02, by_size=True)
    assert many.compute(num_processes=2, **options) == many.compute(num_processes=1, **options)
    # ball: IoU 1 on half of the images; sky: all matched, half as many false positives
    assert results['per_class'][3] == pytest.approx(dict(pq=2 / 3, sq=1, rq=2 / 3))
    assert results['per_class'][8] == pytest.approx(dict(pq=0.8, sq=1, rq=0.8))
    assert set(multiprocessing.active_children()) <= others


def test_error_in_a_process_reaches_the_caller(many):
    many.pred['annotations'][-1]['segments_info'].append(dict(id=77, category_id=3))
    with pytest.raises(PanopticDataError, match=r'\[77\]'):
        many.compute(num_processes=2)
