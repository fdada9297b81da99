"""PanopticMetric, against the official numbers and against scoring of files."""
import copy
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmdet.structures import DetDataSample
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData

from mmpanseg.evaluation import PanopticDataError, PanopticMetric, pq_compute
from mmpanseg.structures.panoptic_png import read_panoptic_png, write_panoptic_png

META = dict(classes=('cat', 'dog', 'sky'), thing_classes=('cat', 'dog'), stuff_classes=('sky', ),
            label2cat={0: 17, 1: 18, 2: 187})
KEYS = ['PQ', 'SQ', 'RQ', 'PQ_th', 'SQ_th', 'RQ_th', 'PQ_st', 'SQ_st', 'RQ_st']


def make_sample(pan_map: np.ndarray, **metainfo) -> DetDataSample:
    """A model's output, as the test loop gives it to an evaluator."""
    sample = DetDataSample(metainfo=metainfo)
    sample.pred_panoptic_seg = PixelData(sem_seg=torch.from_numpy(pan_map)[None])
    return sample


def random_samples(folder: Path, count: int = 7) -> list[DetDataSample]:
    """Striped images, every third with crowds; predictions are shifted, some wrong."""
    rng = np.random.default_rng(0)
    samples = []
    for img_id in range(count):
        width = 20 + img_id
        index = np.minimum(np.arange(width) // 4, 4)
        labels = rng.integers(0, 3, 4)
        gt_map = np.array([0, *rng.choice(1 << 24, 4, replace=False)])[index]
        infos = [dict(id=int(gt_map[4 * k + 4]), category=int(label), is_thing=bool(label < 2),
                      iscrowd=int(img_id % 3 == 0 and label < 2 and k % 2))
                 for k, label in enumerate(labels)]
        path = folder / f'{img_id}.png'
        write_panoptic_png(path, np.tile(gt_map, (8, 1)))

        labels = np.where(rng.random(4) < 0.8, labels, rng.integers(0, 3, 4))
        values = labels + 1000 * np.arange(1, 5) * (labels < 2)
        pan_map = np.roll(np.array([3, *values])[index], img_id % 3)
        samples.append(make_sample(
            np.tile(pan_map, (8, 1)).astype(np.int32), img_id=img_id,
            img_path=f'images/{img_id}.jpg', seg_map_path=str(path), segments_info=infos))
    return samples


def write_ground_truth_json(samples: list, path: Path) -> None:
    """The samples' ground truth in COCO panoptic format."""
    gt_json = dict(
        categories=[dict(id=META['label2cat'][label], name=name, isthing=int(label < 2))
                    for label, name in enumerate(META['classes'])],
        annotations=[dict(
            image_id=sample.img_id, file_name=f'{sample.img_id}.png',
            segments_info=[dict(id=info['id'], iscrowd=info['iscrowd'],
                                category_id=META['label2cat'][info['category']])
                           for info in sample.segments_info]) for sample in samples])
    path.write_text(json.dumps(gt_json))


def evaluate(samples: list, meta: dict = META, batch: int = 2, **kwargs) -> dict:
    evaluator = Evaluator(PanopticMetric(**kwargs))
    evaluator.dataset_meta = meta
    for start in range(0, len(samples), batch):
        evaluator.process(data_samples=samples[start:start + batch])
    return evaluator.evaluate(len(samples))


@pytest.mark.parametrize('name', ['a', 'b_absent_class'])
def test_official_numbers(golden, name):
    folder = golden / 'panoptic_quality' / name
    gt_json, pred_json = (json.loads((folder / f'{side}.json').read_text())
                          for side in ('gt', 'pred'))
    categories = sorted(gt_json['categories'], key=lambda category: -category['isthing'])
    label_of = {category['id']: label for label, category in enumerate(categories)}
    predictions = {pred['image_id']: pred for pred in pred_json['annotations']}
    samples = []
    for gt in gt_json['annotations']:
        pred = predictions[gt['image_id']]
        ids = read_panoptic_png(folder / 'pred' / pred['file_name'])
        pan_map = np.full(ids.shape, len(categories), np.int64)
        for number, info in enumerate(pred['segments_info'], 1):
            pan_map[ids == info['id']] = label_of[info['category_id']] + 1000 * number
        infos = [dict(id=info['id'], category=label_of[info['category_id']],
                      iscrowd=info['iscrowd']) for info in gt['segments_info']]
        samples.append(make_sample(pan_map, img_id=gt['image_id'], segments_info=infos,
                                   seg_map_path=str(folder / 'gt' / gt['file_name'])))
    meta = dict(classes=[c['name'] for c in categories],
                thing_classes=[c['name'] for c in categories if c['isthing']])
    results = evaluate(samples, meta)
    expected = json.loads((folder / 'expected.json').read_text())
    for suffix, group in (('', 'All'), ('_th', 'Things'), ('_st', 'Stuff')):
        for key in ('pq', 'sq', 'rq'):
            assert results[f'panoptic/{key.upper()}{suffix}'] == pytest.approx(
                100 * expected[group][key], rel=0, abs=1e-10)


def test_memory_and_result_files_agree(tmp_path):
    samples = random_samples(tmp_path / 'gt')
    results = evaluate(samples, outfile_prefix=str(tmp_path / 'out/results'))
    assert list(results) == [f'panoptic/{key}' for key in KEYS]
    write_ground_truth_json(samples, tmp_path / 'gt.json')
    of_files = pq_compute(tmp_path / 'gt.json', tmp_path / 'out/results.json')
    for suffix, group in (('', 'All'), ('_th', 'Things'), ('_st', 'Stuff')):
        for key in ('pq', 'sq', 'rq'):
            assert results[f'panoptic/{key.upper()}{suffix}'] == 100 * of_files[group][key]
    assert 0 < of_files['All']['pq'] < 1


def test_format_only_needs_no_ground_truth(tmp_path):
    pan_map = np.array([[2, 2, 3], [1001, 1, 2000]], np.int32)
    sample = make_sample(pan_map, img_id=9, img_path='a/b.c.jpg')
    assert evaluate([sample], format_only=True, outfile_prefix=str(tmp_path / 'out')) == {}
    result, = json.loads((tmp_path / 'out.json').read_text())['annotations']
    assert (result['image_id'], result['file_name']) == (9, 'b.c.png')
    category = {info['id']: info['category_id'] for info in result['segments_info']}
    ids = read_panoptic_png(tmp_path / 'out/b.c.png')
    assert [[category.get(i, 'void') for i in row] for row in ids.tolist()] == [
        [187, 187, 'void'], [18, 18, 17]]
    assert len(category) == 4


def test_one_file_for_each_image(tmp_path):
    """Equal names in two folders and with two endings; the files are those of their images."""
    samples = random_samples(tmp_path / 'gt')
    for sample, path in zip(samples, ('a/1.png', 'b/1.png', 'b/1.jpg', 'b/2.jpg', 'b/x y%d.JPG')):
        sample.set_metainfo(dict(img_path=f'images/{path}'))
    results = evaluate(samples[:5], outfile_prefix=str(tmp_path / 'results'))
    written = json.loads((tmp_path / 'results.json').read_text())['annotations']
    assert [item['file_name'] for item in written] == [
        'a/1.png', 'b/1.png.png', 'b/1.jpg.png', 'b/2.png', 'b/x y%d.png']
    assert sorted(str(path.relative_to(tmp_path / 'results'))
                  for path in (tmp_path / 'results').rglob('*.png')) == sorted(
                      item['file_name'] for item in written)
    write_ground_truth_json(samples[:5], tmp_path / 'gt.json')
    of_files = pq_compute(tmp_path / 'gt.json', tmp_path / 'results.json')
    assert of_files['All']['pq'] == results['panoptic/PQ'] / 100 > 0


def test_equal_ids_of_two_images(tmp_path):
    samples = random_samples(tmp_path / 'gt', 2)
    samples[1].set_metainfo(dict(img_id=0))
    with pytest.raises(PanopticDataError, match='images/0.jpg and images/1.jpg both have image id'):
        evaluate(samples, outfile_prefix=str(tmp_path / 'results'))
    # an image that comes twice is listed once
    samples[1].set_metainfo(dict(img_path='images/0.jpg'))
    evaluate(samples, outfile_prefix=str(tmp_path / 'results'))
    assert len(json.loads((tmp_path / 'results.json').read_text())['annotations']) == 1


def test_an_image_under_two_ids(tmp_path):
    """As when two data sets that share images are concatenated: both ids have its one PNG."""
    samples = random_samples(tmp_path / 'gt', 1)
    samples.append(copy.deepcopy(samples[0]))
    samples[1].set_metainfo(dict(img_id=7))
    evaluate(samples, outfile_prefix=str(tmp_path / 'results'))
    written = json.loads((tmp_path / 'results.json').read_text())['annotations']
    assert [(item['image_id'], item['file_name']) for item in written] == [
        (0, '0.png'), (7, '0.png')]
    assert (tmp_path / 'results/0.png').is_file()


def test_only_sums_of_classes_that_occur_are_kept(tmp_path):
    samples = random_samples(tmp_path / 'gt')
    names = [f'class {label}' for label in range(900)]
    meta = dict(classes=names, thing_classes=names[:2])
    for sample in samples:
        sample.pred_panoptic_seg.sem_seg[sample.pred_panoptic_seg.sem_seg == 3] = 900
    metric = PanopticMetric(by_size=True, boundary_width=0.02)
    metric.dataset_meta = meta
    metric.process(None, [sample.to_dict() for sample in samples])
    kept = sum(part.nbytes for stats, _ in metric.results for pair in stats.values()
               for part in pair)
    assert kept < len(samples) * 5 * 3 * 40
    assert metric.evaluate(len(samples)) == evaluate(
        samples, meta, by_size=True, boundary_width=0.02)


def test_too_many_classes(tmp_path):
    names = [f'class {label}' for label in range(1200)]
    with pytest.raises(ValueError, match='the dataset has 1200 classes, .* 1000 x'):
        evaluate(random_samples(tmp_path, 1), dict(classes=names, thing_classes=names))


def test_metainfo_without_things(tmp_path):
    with pytest.raises(PanopticDataError, match='metainfo of the dataset has no thing_classes'):
        evaluate(random_samples(tmp_path, 1), dict(classes=META['classes']))


def test_writing_needs_category_ids_and_a_place(tmp_path):
    meta = {key: META[key] for key in ('classes', 'thing_classes')}
    with pytest.raises(PanopticDataError, match='label2cat'):
        evaluate(random_samples(tmp_path, 1), meta, outfile_prefix=str(tmp_path / 'out'))
    with pytest.raises(ValueError, match='outfile_prefix'):
        PanopticMetric(format_only=True)


def test_crowd_of_mmdets_datasets(tmp_path):
    """mmdet has no iscrowd there, but marks a crowd as a thing class that is no thing."""
    samples = random_samples(tmp_path)
    assert any(info['iscrowd'] for sample in samples for info in sample.segments_info)
    expected = evaluate(samples)
    for sample in samples:
        infos = [dict(id=info['id'], category=info['category'],
                      is_thing=info['is_thing'] and not info['iscrowd'])
                 for info in sample.segments_info]
        sample.set_metainfo(dict(segments_info=infos))
    assert evaluate(samples) == expected


def test_table_lists_classes_and_counts(tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr('mmengine.logging.MMLogger.info',
                        lambda self, message: lines.append(message))
    write_panoptic_png(tmp_path / 'gt.png', np.array([[7, 7, 7, 8]]))
    infos = [dict(id=7, category=0, iscrowd=0), dict(id=8, category=2, iscrowd=0)]
    sample = make_sample(np.array([[1000, 1000, 2000, 2]]), img_id=0, segments_info=infos,
                         seg_map_path=str(tmp_path / 'gt.png'))
    results = evaluate([sample])
    rows = [[cell.strip() for cell in line.strip('|').split('|')]
            for line in lines[-1].splitlines() if line.startswith('|')]
    assert rows == [
        ['class', 'kind', 'PQ', 'SQ', 'RQ', 'TP', 'FP', 'FN'],
        ['cat', 'thing', '44.4', '66.7', '66.7', '1', '1', '0'],
        ['dog', 'thing', '-', '-', '-', '0', '0', '0'],
        ['sky', 'stuff', '100.0', '100.0', '100.0', '1', '0', '0'],
        ['all (n=2)', '', '72.2', '83.3', '83.3', '2', '1', '0'],
        ['things (n=1)', '', '44.4', '66.7', '66.7', '1', '1', '0'],
        ['stuff (n=1)', '', '100.0', '100.0', '100.0', '1', '0', '0']]
    assert results['panoptic/PQ'] == pytest.approx(100 * (4 / 9 + 1) / 2)
    evaluate([sample], classwise=False)
    assert 'dog' not in lines[-1] and 'all (n=2)' in lines[-1]


def test_boundary_pq_and_sizes(tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr('mmengine.logging.MMLogger.info',
                        lambda self, message: lines.append(message))
    samples = random_samples(tmp_path / 'gt')
    plain = evaluate(samples)
    results = evaluate(samples, boundary_width=0.05, by_size=True,
                       outfile_prefix=str(tmp_path / 'results'))
    variants = [f'boundary_{key}' for key in KEYS] + [
        f'PQ_{size}{suffix}' for size in ('small', 'medium', 'large')
        for suffix in ('', '_th', '_st')]
    assert list(results) == [f'panoptic/{key}' for key in KEYS + variants]
    assert {key: results[key] for key in plain} == plain

    write_ground_truth_json(samples, tmp_path / 'gt.json')
    of_files = pq_compute(tmp_path / 'gt.json', tmp_path / 'results.json', boundary_width=0.05,
                          by_size=True)
    for suffix, group in (('', 'All'), ('_th', 'Things'), ('_st', 'Stuff')):
        for key in ('pq', 'sq', 'rq'):
            assert results[f'panoptic/boundary_{key.upper()}{suffix}'] == pytest.approx(
                100 * of_files['Boundary'][group][key])
        # all segments of these images are small
        assert results[f'panoptic/PQ_small{suffix}'] == results[f'panoptic/PQ{suffix}']
        assert results[f'panoptic/PQ_large{suffix}'] == of_files['Large'][group]['pq'] == 0
    assert 0 < results['panoptic/boundary_PQ'] < results['panoptic/PQ']

    head, *rows = [[cell.strip() for cell in line.strip('|').split('|')]
                   for line in lines[-1].splitlines() if line.startswith('|')]
    assert head[8:] == ['Boundary PQ', 'PQ small', 'PQ medium', 'PQ large']
    of_all = next(row for row in rows if row[0].startswith('all'))
    assert of_all[2] == of_all[9] == f'{results["panoptic/PQ"]:.1f}'
    assert of_all[8] == f'{results["panoptic/boundary_PQ"]:.1f}'
    assert of_all[10:] == ['-', '-']


def test_boundary_width_is_checked_at_once():
    with pytest.raises(ValueError, match='boundary_width=2 must be between 0 and 1'):
        PanopticMetric(boundary_width=2)


def test_images_without_annotation(tmp_path):
    samples = random_samples(tmp_path)
    expected = evaluate(samples)
    bare = make_sample(np.zeros((4, 4), int), img_id=99, seg_map_path=None, segments_info=[])
    assert evaluate([bare, *samples]) == expected
    with pytest.raises(PanopticDataError, match='no image .* has a panoptic annotation'):
        evaluate([bare])


def test_all_void_ground_truth_and_empty_prediction(tmp_path):
    write_panoptic_png(tmp_path / 'void.png', np.zeros((2, 3), int))
    sample = make_sample(np.full((2, 3), 3), img_id=0, segments_info=[],
                         seg_map_path=str(tmp_path / 'void.png'))
    assert evaluate([sample]) == {f'panoptic/{key}': 0 for key in KEYS}


@pytest.mark.parametrize('change, error, message', [
    (dict(seg_map_path='{folder}/none.png'), FileNotFoundError, 'none.png does not exist'),
    (dict(seg_map_path='{folder}/empty.png'), ValueError, 'empty.png is an empty file'),
    (dict(segments_info=[]), PanopticDataError, r'image 0 \(images/0.jpg\): .*0.png but not in'),
    (dict(segments_info=[dict(id=1, category=3)]), PanopticDataError, 'has label 3, but .* 3 cl'),
    (dict(pan_map=np.full((3, 3), 2)), PanopticDataError, '3x3 pixels, but .*0.png has 20x8'),
    (dict(pan_map=np.full((8, 20), 1004)), PanopticDataError, '1004 has label 4, .* 3 classes'),
    (dict(pan_map=np.full((8, 20), -998)), PanopticDataError,
     r'image 0 \(images/0.jpg\): predicted segment -998'),
])
def test_bad_input(tmp_path, change, error, message):
    sample, = random_samples(tmp_path, 1)
    (tmp_path / 'empty.png').write_bytes(b'')
    meta = {key: value.format(folder=tmp_path) if isinstance(value, str) else value
            for key, value in change.items() if key != 'pan_map'}
    sample.set_metainfo(meta)
    if 'pan_map' in change:
        sample.pred_panoptic_seg = PixelData(sem_seg=torch.from_numpy(change['pan_map'])[None])
    with pytest.raises(error, match=message):
        evaluate([sample])


def test_ground_truth_left_out_of_the_pipeline():
    with pytest.raises(PanopticDataError, match='has no seg_map_path .*PackPanopticInputs'):
        evaluate([make_sample(np.zeros((2, 2), int), img_id=0)])
    with pytest.raises(PanopticDataError, match='no pred_panoptic_seg'):
        evaluate([DetDataSample(metainfo=dict(img_id=0))])


def _evaluate_shard(rank: int, folder: Path) -> None:
    """One of two processes: every second image, padded as mmengine's sampler pads."""
    dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
    samples = random_samples(folder / f'gt{rank}')
    for sample in samples[4:]:
        sample.set_metainfo(dict(img_path=f'images/more/{sample.img_id - 4}.jpg'))
    padded = samples + samples[:1]
    evaluator = Evaluator(PanopticMetric(outfile_prefix=str(folder / 'results')))
    evaluator.dataset_meta = META
    evaluator.process(data_samples=padded[rank::2])
    results = evaluator.evaluate(len(samples))
    (folder / f'{rank}.json').write_text(json.dumps(results))
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_give_the_same(tmp_path, monkeypatch):
    monkeypatch.setitem(os.environ, 'OMP_NUM_THREADS', '1')
    mp.spawn(_evaluate_shard, args=(tmp_path, ), nprocs=2)
    expected = evaluate(random_samples(tmp_path / 'gt'))
    for rank in range(2):
        assert json.loads((tmp_path / f'{rank}.json').read_text()) == expected
    written = json.loads((tmp_path / 'results.json').read_text())['annotations']
    assert [result['image_id'] for result in written] == list(range(7))
    names = [f'{k}.png' for k in range(4)] + [f'more/{k}.png' for k in range(3)]
    assert [result['file_name'] for result in written] == names
    assert len(list((tmp_path / 'results').rglob('*.png'))) == 7
