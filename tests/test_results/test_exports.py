"""Exports: read back, or compared with the packages that they are for."""
import contextlib
import io
import json

import numpy as np
import pytest
from pycocotools import mask as rle_tools
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from rich.console import Console

from mmpanseg import Result
from mmpanseg.evaluation import pq_compute
from mmpanseg.structures import read_panoptic_png, rgb2id

from .conftest import CLASSES, INFOS, OUTPUTS, SIZE, make, make_map


def same_map(one, other):
    return (one is None and other is None) or (
        one.dtype == other.dtype and np.array_equal(one, other))


@pytest.mark.parametrize('kind', OUTPUTS)
def test_json_round_trip(kind, tmp_path):
    result = make(kind, palette=np.arange(12).reshape(4, 3), category_ids=[5, 6, 7, 90],
                  file_name='a/b.jpg')
    result.save(tmp_path / 'deep/result.json')
    text = (tmp_path / 'deep/result.json').read_text()
    again = Result.from_json(text)
    assert again.to_dict() == result.to_dict() == json.loads(text)
    assert same_map(again.panoptic_map, result.panoptic_map)
    assert same_map(again.semantic_map, result.semantic_map)
    assert again.segments == result.segments and again.instances == result.instances
    assert again.tasks == result.tasks
    for one, other in zip(again, result):
        assert (one.mask() == other.mask()).all()
    for name in ('size', 'classes', 'num_things', 'speed', 'path', 'image_id', 'file_name',
                 'category_ids'):
        assert getattr(again, name) == getattr(result, name)
    assert again.image_id == 17 and again.palette == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]


def test_keys_of_the_json():
    content = make('all').to_dict()
    assert list(content) == [
        'format', 'version', 'size', 'path', 'file_name', 'image_id', 'classes', 'num_things',
        'category_ids', 'palette', 'speed', 'task', 'segments', 'instances', 'semantic']
    assert content['size'] == [40, 60] and content['task'] == 'panoptic'
    car = content['segments'][2]
    assert {key: car[key] for key in car if key != 'segmentation'} == dict(
        id=300, label=1, name='car', is_thing=True, score=0.75, area=60,
        box=[44.0, 25.0, 58.0, 30.0])
    assert (rle_tools.decode(car['segmentation']) == (make_map() == 300)).all()
    # what the segments have already is not repeated
    assert make('instance').to_dict()['instances'] is None
    assert make('semantic').to_dict()['semantic'] is None


def test_coco_panoptic():
    png, entry = make(category_ids=[1, 3, 187, 149]).to_coco_panoptic()
    assert png.dtype == np.uint8 and (rgb2id(png) == make_map()).all()
    assert (entry['image_id'], entry['file_name']) == (17, '000123.png')
    assert [info['category_id'] for info in entry['segments_info']] == [1, 1, 3, 187, 149]
    for info, given in zip(entry['segments_info'], INFOS):
        mask = make_map() == info['id']
        assert (info['id'], info['score'], info['iscrowd']) == (given['id'], given['score'], 0)
        rle = rle_tools.encode(np.asfortranarray(mask, np.uint8))
        assert info['area'] == rle_tools.area(rle)
        assert info['bbox'] == rle_tools.toBbox(rle).tolist()
    json.dumps(entry)


@pytest.mark.parametrize('kind', ['panoptic', 'instance', 'semantic', 'all'])
def test_a_result_scores_one_against_itself(kind, tmp_path):
    result = make(kind)
    png, entry = result.to_coco_panoptic(image_id=5, file_name='x.png')
    (tmp_path / 'pngs').mkdir()
    result.save(tmp_path / 'pngs/x.png', content='panoptic')
    assert (read_panoptic_png(tmp_path / 'pngs/x.png') == rgb2id(png)).all()
    (tmp_path / 'a.json').write_text(json.dumps(dict(
        images=[dict(id=5, file_name='x.jpg', height=SIZE[0], width=SIZE[1])],
        categories=result.categories, annotations=[entry])))
    score = pq_compute(tmp_path / 'a.json', tmp_path / 'a.json', tmp_path / 'pngs',
                       tmp_path / 'pngs')
    visible = len({info['category_id'] for info in entry['segments_info']})
    assert score['All'] == dict(pq=1, sq=1, rq=1, n=visible) and visible >= 2


def test_overlapping_instances_in_one_map():
    """The one with the higher score is on top; an empty one is left out."""
    png, entry = make('instance').to_coco_panoptic()
    masks = OUTPUTS['instance']['instances'][2]
    ids = rgb2id(png)
    assert (ids == np.where(masks[1], 2, np.where(masks[0], 1, 0))).all()
    assert [(info['id'], info['area']) for info in entry['segments_info']] == [(1, 250), (2, 600)]


def ground_truth(result):
    """COCO's annotations of the instances of a result."""
    coco = COCO()
    coco.dataset = dict(
        images=[dict(id=17, height=SIZE[0], width=SIZE[1])], categories=result.categories,
        annotations=[dict(id=k, image_id=17, iscrowd=0, area=s.area, segmentation=s.rle(),
                          category_id=result.category_ids[s.label],
                          bbox=[s.box[0], s.box[1], s.box[2] - s.box[0], s.box[3] - s.box[1]])
                     for k, s in enumerate(result, 1) if s.is_thing])
    coco.createIndex()
    return coco


@pytest.mark.parametrize('kind', ['panoptic', 'instance', 'encoded', 'semantic', 'all'])
def test_coco_instances_in_pycocotools(kind):
    result = make(kind).filter(min_area=1)
    found = json.loads(json.dumps(result.to_coco_instances()))
    things = result.instances or [s for s in result if s.is_thing]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = ground_truth(result)
        loaded = truth.loadRes(found)
        evaluation = COCOeval(truth, loaded, 'segm')
        evaluation.evaluate(), evaluation.accumulate(), evaluation.summarize()
    for annotation, segment in zip(loaded.loadAnns(loaded.getAnnIds()), things):
        assert annotation['image_id'] == 17 and annotation['area'] == segment.area
        assert annotation['category_id'] == segment.label + 1
        assert annotation['score'] == (1 if segment.score is None else segment.score)
        # pycocotools computes area and box from the mask
        x1, y1, x2, y2 = segment.box
        assert list(annotation['bbox']) == [x1, y1, x2 - x1, y2 - y1]
        assert (loaded.annToMask(annotation) == segment.mask()).all()
    if kind != 'all':  # there the truth is the panoptic map
        # pycocotools adds a small number to the denominator of the precision
        assert evaluation.stats[0] == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize('options, expected', [
    (dict(image_id=3, file_name='a/7.jpg', path='8.jpg'), 3),
    (dict(image_id='name'), 'name'),
    (dict(image_id=None, file_name='a/0007.jpg', path='8.jpg'), 7),
    (dict(image_id=None, path='photos/street.tar.png'), 'street.tar'),
    (dict(image_id=None, path='https://host/d/9.jpg?size=2'), 9),
    (dict(image_id=None, path=None), 0)])
def test_image_id(options, expected):
    result = make(**options)
    assert result.export_id() == expected
    assert result.to_coco_panoptic()[1]['image_id'] == expected
    assert {entry['image_id'] for entry in result.to_coco_instances()} == {expected}
    assert result.to_coco_panoptic(image_id=99)[1]['image_id'] == 99
    assert result.to_coco_instances(image_id=99)[0]['image_id'] == 99


def test_pandas():
    pytest.importorskip('pandas', reason='pandas is not installed')
    table = make().to_pandas()
    assert list(table.columns) == ['id', 'label', 'name', 'is_thing', 'score', 'area', 'x1', 'y1',
                                   'x2', 'y2']
    assert table.groupby('name').area.sum().to_dict() == {
        name: sum(s.area for s in make()[name]) for name in CLASSES}
    assert table.loc[2, ['x1', 'y1', 'x2', 'y2']].tolist() == [44, 25, 58, 30]
    assert table.score.tolist() == [info['score'] for info in INFOS]
    assert make('semantic').to_pandas().score.isna().all()
    empty = make('empty').to_pandas()
    assert len(empty) == 0 and (empty.dtypes == table.dtypes).all()


@pytest.mark.parametrize('kind', OUTPUTS)
def test_supervision(kind):
    supervision = pytest.importorskip('supervision', reason='supervision is not installed')
    result = make(kind)
    found = result.to_supervision()
    assert isinstance(found, supervision.Detections) and len(found) == len(result)
    assert found.mask.shape == (len(result), *SIZE) and found.mask.dtype == bool
    for k, segment in enumerate(result):
        assert (found.mask[k] == segment.mask()).all()
        assert tuple(found.xyxy[k]) == segment.box and found.class_id[k] == segment.label
        assert found.data['class_name'][k] == found['class_name'][k] == segment.name
        assert found.data['segment_id'][k] == segment.id
        assert found.data['is_thing'][k] == segment.is_thing
    if kind == 'semantic':
        assert found.confidence is None
    else:
        assert (found.confidence == np.array([s.score for s in result], np.float32)).all()
    assert (found.area == [s.area for s in result]).all()
    # its operations keep our data together
    people = found[found.class_id == 0]
    assert people.data['segment_id'].tolist() == [s.id for s in result if s.label == 0]


def test_supervision_draws_them():
    supervision = pytest.importorskip('supervision', reason='supervision is not installed')
    result = make()
    drawn = supervision.MaskAnnotator(opacity=1).annotate(
        result.image.copy(), result['car'] and result.filter('car').to_supervision())
    changed = (drawn != result.image).any(2)
    assert (changed == result['car'][0].mask()).mean() > 0.99


def test_table():
    console = Console(width=120, record=True, file=io.StringIO())
    result = Result(SIZE, ('[red]person', 'car', 'sky', 'road'), 2, panoptic=(make_map(), INFOS))
    console.print(result)
    lines = [line.strip('│ ').split('│') for line in console.export_text().splitlines()]
    rows = [[cell.strip() for cell in row] for row in lines if len(row) == 7]
    assert rows[0] == ['7', '[red]person', 'thing', '0.90', '280', '11.7%', '5, 10, 20, 30']
    assert rows[3][:3] == ['4', 'sky', 'stuff'] and len(rows) == 5
    assert make('semantic').table().columns[3]._cells[0].plain == ''


def test_html():
    result = Result(SIZE, ('<b>&"person', 'car', 'sky', 'road'), 2, panoptic=(make_map(), INFOS),
                    path='<i>.jpg')
    html = result._repr_html_()
    assert '<b>' not in html and '<i>' not in html
    assert '&lt;b&gt;&amp;&quot;person' in html and html.count('<tr>') == 6
