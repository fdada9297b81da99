"""``mmpanseg predict`` on images: what is written, scored and shown."""
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from color_scenes import (
    BALL,
    CATEGORIES,
    CATEGORY_OF,
    GROUND,
    QUERIES,
    SKY,
    ball_scene,
    write_image,
)
from pycocotools import mask as rle_tools
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmpanseg.apis.dataset_ids import DatasetIds
from mmpanseg.cli.output_folder import OutputFolder, remove_results
from mmpanseg.cli.result_writers import Predicted, make_writers
from mmpanseg.cli.sources import Source
from mmpanseg.evaluation import pq_compute
from mmpanseg.results import Result
from mmpanseg.structures.panoptic_png import read_panoptic_png

NAMES = {'a/1.png': 'a/1', 'b/1.PNG': 'b/1', 'b/2.jpg': 'b/2', 'b/c/3.png': 'b/c/3'}


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def files_of(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*')
                  if path.is_file() and path.name != '.lock')


def test_one_photo(run, photos, tmp_path):
    done = run('photos/a/1.png')
    assert done.status == 0 and done.err == []
    assert len(done.out) == 1 and re.fullmatch(
        r'photos/a/1\.png: 4 segments: 2 ball, .*; \d+\.\d\d s -> outputs/pictures/1\.png',
        done.out[0])
    assert files_of(tmp_path / 'outputs') == ['pictures/1.png', 'run.jsonl']
    picture = cv2.imread('outputs/pictures/1.png')
    assert picture.shape == (800, 800, 3)


def test_folder_with_all_kinds(run, photos, tmp_path):
    done = run('photos', '--save', 'png,json,coco,polygons', '--task', 'all', '--out', 'out')
    assert done.status == 0 and done.err == []
    assert len(done.out) == 5
    assert done.out[-1].startswith('4 done in ') and done.out[-1].endswith(' -> out')
    assert files_of(tmp_path / 'out') == sorted([
        'run.jsonl', 'predictions.jsonl', 'coco/images.json', 'coco/panoptic.json',
        'coco/instances.json', *(f'{folder}/{name}.{ending}' for name in NAMES.values()
                                 for folder, ending in (('pictures', 'png'), ('polygons', 'json'),
                                                        ('coco', 'png'))),
        *(f'coco/{name}_semantic.png' for name in NAMES.values())])
    lines = lines_of(tmp_path / 'out/predictions.jsonl')
    # stated ids: in the order of the folder, category ids from 1 on
    assert [(line['image_id'], line['file_name'], line['name']) for line in lines] == [
        (number, *pair) for number, pair in enumerate(NAMES.items())]
    for line, (name, labels) in zip(lines, photos.items()):
        assert line['source'] == str(tmp_path / 'photos' / name)
        result = Result.from_dict(line)
        assert result.category_ids == [1, 2, 3]
        check_segments(result, labels)
        check_polygons(tmp_path / 'out/polygons' / f'{NAMES[name]}.json', result, labels)
        semantic = cv2.imread(str(tmp_path / 'out/coco' / f'{NAMES[name]}_semantic.png'), -1)
        expected = np.array([label for _, label in QUERIES])[labels]
        assert np.array_equal(semantic, expected)
        assert np.array_equal(read_panoptic_png(tmp_path / 'out/coco' / f'{NAMES[name]}.png'),
                              result.panoptic_map)


def check_segments(result, labels):
    """Compare with the map that the picture was made of."""
    found = {}
    for segment in result:
        query = int(np.bincount(labels[segment.mask()]).argmax())
        assert segment.label == QUERIES[query][1]
        found[query] = segment.mask()
    assert set(found) == set(np.unique(labels).tolist())
    for query, mask in found.items():
        assert np.array_equal(mask, labels == query)


def check_polygons(path, result, labels):
    content = json.loads(path.read_text())
    assert (path.parent / content['imagePath']).resolve().is_file()
    assert (content['imageHeight'], content['imageWidth']) == labels.shape
    names = [segment.name for segment in result]
    assert {(shape['group_id'], shape['label']) for shape in content['shapes']} == {
        (segment.id, segment.name) for segment in result} and names
    for segment in result.segments:
        if not segment.is_thing:
            continue
        parts = [np.array(shape['points']) for shape in content['shapes']
                 if shape['group_id'] == segment.id]
        canvas = np.zeros(labels.shape, np.uint8)
        # corners of pixels: the centers that are inside are half a pixel away
        cv2.fillPoly(canvas, [np.round((part - 0.5) * 256).astype(np.int32) for part in parts], 1,
                     shift=8)
        overlap = (canvas.astype(bool) & segment.mask()).sum()
        assert overlap == segment.area


@pytest.mark.parametrize('save', ['coco', 'json,coco'])
def test_saved_files_are_scored_with_the_annotation_file(run, photos, annotations, tmp_path, save):
    done = run('photos', '--save', save, '--task', 'all', '--ann', annotations)
    assert done.status == 0
    out = tmp_path / 'outputs/coco'
    panoptic = json.loads((out / 'panoptic.json').read_text())
    known = {image['id']: image['file_name']
             for image in json.loads(annotations.read_text())['images']}
    assert {image['id']: image['file_name'] for image in panoptic['images']} == known
    assert {category['name']: category['id'] for category in panoptic['categories']} == {
        name: CATEGORY_OF[label] for name, label in (('ball', BALL), ('sky', SKY),
                                                     ('ground', GROUND))}
    # the PQ that the maps have, by the definition
    expected = pq_by_hand(photos)
    scores = pq_compute(annotations, out / 'panoptic.json', tmp_path / 'truth')
    assert 0.3 < expected < 0.95
    assert scores['All']['pq'] == pytest.approx(expected)
    objects = COCO(str(tmp_path / 'objects.json'))
    evaluation = COCOeval(objects, objects.loadRes(str(out / 'instances.json')), 'segm')
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[1] == pytest.approx(ap50_by_hand(photos))
    if 'json' in save:
        lines = lines_of(tmp_path / 'outputs/predictions.jsonl')
        assert {line['image_id']: line['file_name'] for line in lines} == known


def overlaps(photos):
    """(class, IoU) of each pair of truth, shifted by 3 pixels, and prediction."""
    for labels in photos.values():
        truth = np.roll(labels, 3, 1)
        for query in np.unique(labels).tolist():
            a, b = truth == query, labels == query
            yield QUERIES[query][1], (a & b).sum() / (a | b).sum()


def pq_by_hand(photos):
    found = list(overlaps(photos))
    values = []
    for label in (BALL, SKY, GROUND):
        ious = [iou for one, iou in found if one == label]
        values.append(sum(iou for iou in ious if iou > 0.5) / len(ious))
    return sum(values) / len(values)


def ap50_by_hand(photos):
    """All scores are equal, so that precision is constant."""
    ious = [iou for label, iou in overlaps(photos) if label == BALL]
    assert all(iou >= 0.5 for iou in ious)
    return 1.0


def test_second_run_adds_and_replaces(run, photos, tmp_path):
    assert run('photos/b', '--save', 'png,json,coco').status == 0
    first = lines_of(tmp_path / 'outputs/predictions.jsonl')
    labels = ball_scene(np.random.default_rng(9), balls=2)
    write_image(tmp_path / 'photos/b/1.PNG', labels)
    (tmp_path / 'more/b').mkdir(parents=True)
    write_image(tmp_path / 'more/b/1.png', photos['a/1.png'])
    done = run('photos/b/1.PNG', 'more', '--save', 'png,json,coco')
    assert done.status == 0
    lines = {line['name']: line for line in lines_of(tmp_path / 'outputs/predictions.jsonl')}
    # 1 is that of the first run; its name and id stay
    assert [(name, line['image_id']) for name, line in lines.items()] == [
        ('2', 1), ('c/3', 2), ('1', 0), ('b/1', 3)]
    check_segments(Result.from_dict(lines['1']), labels)
    check_segments(Result.from_dict(lines['b/1']), photos['a/1.png'])
    assert lines['2'] == first[1] | dict(speed=lines['2'].get('speed'))
    panoptic = json.loads((tmp_path / 'outputs/coco/panoptic.json').read_text())
    assert sorted((a['image_id'], a['file_name'], len(a['segments_info']))
                  for a in panoptic['annotations']) == [
        (0, '1.png', 4), (1, '2.png', 3), (2, 'c/3.png', 3), (3, 'b/1.png', 4)]
    assert files_of(tmp_path / 'outputs/pictures') == ['1.png', '2.png', 'b/1.png', 'c/3.png']


def test_equal_names_of_two_runs(run, photos, tmp_path):
    assert run('photos/a/1.png').status == 0
    assert run('photos/b/1.PNG').status == 0
    assert files_of(tmp_path / 'outputs/pictures') == ['1.png', '1_1.png']


def test_another_run_is_refused_or_overwrites(run, photos, tmp_path):
    assert run('photos/b', '--save', 'json,png').status == 0
    before = (tmp_path / 'outputs/predictions.jsonl').read_bytes()
    refused = run('photos/a', '--save', 'json,png', '--score-thr', '0.2')
    assert refused.status == 1 and refused.err == [
        'mmpanseg predict: error: --out outputs has results with --score-thr as the config has it, '
        'and this run has 0.2: name another folder, or replace its results with --overwrite']
    assert (tmp_path / 'outputs/predictions.jsonl').read_bytes() == before
    (tmp_path / 'outputs/pictures/mine.txt').touch()
    assert run('photos/a', '--save', 'json', '--score-thr', '0.2', '--overwrite').status == 0
    assert files_of(tmp_path / 'outputs') == ['pictures/mine.txt', 'predictions.jsonl', 'run.jsonl']
    assert [line['name'] for line in lines_of(tmp_path / 'outputs/predictions.jsonl')] == ['1']


def test_other_weights_at_the_same_path_are_refused(run, photos, weights, tmp_path):
    copy = tmp_path / 'copy.pth'
    copy.write_bytes(weights.read_bytes())
    assert run('photos/b', '--save', 'json', weights=copy).status == 0
    assert run('photos/a', '--save', 'json', weights=copy).status == 0
    content = torch.load(copy, weights_only=False)
    for value in content['state_dict'].values():
        value += 1
    torch.save(content, copy)
    done = run('photos/a', '--save', 'json', weights=copy)
    assert done.status == 1 and done.err == [
        'mmpanseg predict: error: --out outputs has results with other weights than this model: '
        'name another folder, or replace its results with --overwrite']


def test_interrupted_lines_are_repaired(run, photos, tmp_path):
    assert run('photos/b', '--save', 'json').status == 0
    path = tmp_path / 'outputs/predictions.jsonl'
    whole = path.read_bytes()
    # a process that is killed leaves a part of a line
    path.write_bytes(whole[:-30])
    record = tmp_path / 'outputs/run.jsonl'
    record.write_bytes(record.read_bytes()[:-5])
    assert run('photos/b/c', '--save', 'json').status == 0
    lines = lines_of(path)
    assert [(line['name'], line['image_id']) for line in lines] == [('1', 0), ('2', 1), ('3', 2)]


def test_list_on_standard_input_in_its_place(run, photos, tmp_path):
    done = run('photos/b/2.jpg', '-', 'photos/b/c', '--save', 'json',
               stdin='photos/a/1.png\n\nphotos/b/1.PNG\r\n')
    assert done.status == 0
    assert [line['source'].removeprefix(f'{tmp_path}/photos/') for line in lines_of(
        tmp_path / 'outputs/predictions.jsonl')] == ['b/2.jpg', 'a/1.png', 'b/1.PNG', 'b/c/3.png']


def test_classes_and_tasks(run, photos, tmp_path):
    assert run('photos/a/1.png', '--save', 'json', '--classes', 'ball, ground').status == 0
    line = lines_of(tmp_path / 'outputs/predictions.jsonl')[0]
    assert sorted(segment['name'] for segment in line['segments']) == ['ball', 'ball', 'ground']
    done = run('photos/a/1.png', '--save', 'json,coco', '--task', 'instance', '--out', 'things',
               '--score-thr', '0.5')
    assert done.status == 0 and ': 2 segments: 2 ball; ' in done.out[0]
    found = json.loads((tmp_path / 'things/coco/instances.json').read_text())
    labels = photos['a/1.png']
    assert {int(np.bincount(labels[rle_tools.decode(one['segmentation']).astype(bool)]).argmax())
            for one in found} == {0, 1}
    assert run('photos/a/1.png', '--save', 'json', '--task', 'semantic', '--out',
               'classes').status == 0
    line = lines_of(tmp_path / 'classes/predictions.jsonl')[0]
    assert sorted(segment['name'] for segment in line['segments']) == ['ball', 'ground', 'sky']


def test_batches_have_the_results_of_single_images(run, photos, tmp_path):
    write_image(tmp_path / 'photos/wide.png', ball_scene(np.random.default_rng(5), (60, 90)))
    for batch in (1, 3):
        assert run('photos', '--save', 'json', '--batch', batch, '--out', f'out{batch}').status == 0
    one, three = ([{key: value for key, value in line.items() if key != 'speed'} for line in
                   lines_of(tmp_path / f'out{batch}/predictions.jsonl')] for batch in (1, 3))
    assert one == three and len(one) == 5


def test_categories_of_the_annotation_file_are_complete():
    assert {category['id'] for category in CATEGORIES} > set(CATEGORY_OF.values())


@pytest.mark.slow
def test_a_process_shows_nothing_else(photos, tiny_config, weights, tmp_path):
    """Start-up noise of all libraries is in the log file."""
    done = subprocess.run(
        [sys.executable, '-m', 'mmpanseg', 'predict', 'photos/a', '--model', str(tiny_config),
         '--weights', str(weights), '--device', 'cpu'], cwd=tmp_path, text=True,
        capture_output=True, env=dict(os.environ, MMPANSEG_CACHE=str(tmp_path / 'cache')))
    assert done.returncode == 0 and done.stderr == ''
    assert re.fullmatch(r'photos/a/1\.png: .*s -> outputs/pictures/1\.png\n', done.stdout)
    log, = (tmp_path / 'cache/logs').glob('predict-*.log')
    assert 'Loads checkpoint' in log.read_text()


def test_cost_of_an_image_does_not_grow(tmp_path):
    """Bytes that are read and written for 400 images are ten times those of 40."""
    ids = DatasetIds(('ball', 'sky', 'ground'))
    labels = np.ones((8, 8), np.int32)
    sizes = []
    for count in (40, 400):
        folder = OutputFolder(tmp_path / str(count), {}, ids)
        writers = make_writers(folder.folder, ('json', 'coco'), ids, 1)
        sources = [Source(f'{number}.png', str(number)) for number in range(count)]
        folder.announce(sources)
        counts = _io_counts()
        for source in sources:
            result = Result((8, 8), ids.classes, 1, panoptic=(
                labels, [dict(id=1, label=1, score=0.5)]))
            entry = folder.entry(source, (8, 8))
            result.image_id, result.file_name = entry.id, entry.file_name
            for writer in writers.values():
                writer.write(Predicted(entry, result))
        for writer in writers.values():
            writer.finish()
        sizes.append([after - before for before, after in zip(counts, _io_counts())])
    for small, large in zip(*sizes):
        assert large < 11 * small + 20_000


def _io_counts():
    """Bytes that this process has read and written until now."""
    text = Path('/proc/self/io').read_text()
    return [int(value) for value in re.findall(r'[rw]char: (\d+)', text)]


def test_only_own_results_are_removed(tmp_path):
    """A record of another place names no files outside the folder."""
    for name in ('out/pictures/a/1.png', 'out/pictures/a/mine.png', 'out/pictures/b.png', 'c.png',
                 'out/coco/clip.mp4/000001.png', 'out/coco/clip.mp4/x.png'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / 'out/run.jsonl').write_text('\n'.join(json.dumps(line) for line in (
        dict(settings={}), dict(name='a/1'), dict(name='../../c'), dict(name=str(tmp_path / 'c')),
        dict(name='clip.mp4'), 7)))
    remove_results(tmp_path / 'out')
    assert files_of(tmp_path) == [
        'c.png', 'out/coco/clip.mp4/x.png', 'out/pictures/a/mine.png', 'out/pictures/b.png']
