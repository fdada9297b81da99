"""Sources whose files number the classes differently, joined by mmdet's and mmengine's wrappers."""
import copy
import json
import shutil

import cv2
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData
from torch.utils.data import Subset

from mmpanseg.datasets import SemanticDataset
from mmpanseg.datasets.metainfo import common_metainfo
from mmpanseg.engine import ClassConsistencyHook
from mmpanseg.evaluation import PanopticMetric, SemanticMetric
from mmpanseg.registry import DATASETS
from mmpanseg.visualization import PanopticVisualizer

META = dict(thing_classes=('ball', ), stuff_classes=('sky', ))
PIPELINE = [dict(type='LoadImageFromFile'), dict(type='mmpanseg.LoadPanopticMap'),
            dict(type='mmpanseg.PackPanopticInputs')]


@pytest.fixture
def sources(tiny):
    """Configs of two sources: ids 5 and 2 of ball and sky, and 31 and 77."""
    tiny.build()
    other = copy.deepcopy(tiny.content)
    for category in other['categories']:
        category['id'] = {5: 31, 2: 77}[category['id']]
    for annotation in other['annotations']:
        annotation['image_id'] += 10
        for segment in annotation['segments_info']:
            segment['category_id'] = {5: 31, 2: 77}[segment['category_id']]
    for image in other['images']:
        image['id'] += 10
    shutil.copytree(tiny.root / 'img', tiny.root / 'other_img')
    (tiny.root / 'other.json').write_text(json.dumps(other))
    return [dict(type='mmpanseg.PanopticDataset', ann_file=name, data_root=str(tiny.root),
                 data_prefix=dict(img=folder, seg='seg'), metainfo=META, pipeline=PIPELINE,
                 test_mode=True)
            for name, folder in (('tiny.json', 'img'), ('other.json', 'other_img'))]


def perfect(sample, num_things=1, num_classes=2):
    """A prediction that equals the ground truth."""
    segments = sample.gt_segments
    values = segments.labels + 1000 * (segments.labels < num_things) * torch.arange(
        1, len(segments) + 1)
    values = torch.cat([values, torch.tensor([num_classes])])
    result = DetDataSample(metainfo=sample.metainfo)
    result.pred_panoptic_seg = PixelData(sem_seg=values[segments.map.long()][None])
    return result


def wrappers(sources):
    concat = dict(type='ConcatDataset', datasets=sources)
    return dict(concat=concat, repeat=dict(type='RepeatDataset', dataset=concat, times=1),
                balanced=dict(type='ConcatDataset', datasets=[
                    dict(type='ClassBalancedDataset', dataset=source, oversample_thr=1e-9)
                    for source in sources]),
                nested=dict(type='ConcatDataset', datasets=[
                    dict(type='ConcatDataset', datasets=sources[:1]), sources[1]]),
                mixed=dict(type='mmpanseg.ResamplingMixDataset', dataset=concat, pipeline=[]))


@pytest.mark.parametrize('kind', ['concat', 'repeat', 'mixed', 'balanced', 'nested'])
def test_each_sample_keeps_the_ids_of_its_file(tmp_path, sources, kind):
    dataset = DATASETS.build(wrappers(sources)[kind])
    evaluator = Evaluator(PanopticMetric(outfile_prefix=str(tmp_path / 'results')))
    evaluator.dataset_meta = dataset.metainfo
    for k in range(len(dataset)):
        evaluator.process(data_samples=[perfect(dataset[k]['data_samples'])])
    scores = evaluator.evaluate(len(dataset))
    assert scores['panoptic/PQ'] == scores['panoptic/PQ_th'] == pytest.approx(100)
    written = {a['image_id']: {s['category_id'] for s in a['segments_info']}
               for a in json.loads((tmp_path / 'results.json').read_text())['annotations']}
    assert written == {1: {5, 2}, 2: set(), 11: {31, 77}, 12: set()}


def test_subsets(sources):
    for config in sources:
        config['indices'] = [0]
    dataset = DATASETS.build(wrappers(sources)['concat'])
    assert [dataset.get_data_info(k)['label2cat'] for k in range(2)] == [{0: 5, 1: 2},
                                                                        {0: 31, 1: 77}]
    assert Subset(dataset, [1])[0]['data_samples'].label2cat == {0: 31, 1: 77}


def test_one_metainfo_for_checkpoints_and_pictures(sources):
    class Model:
        num_things_classes, num_stuff_classes = 1, 1

    class Runner:
        model = Model()

    for kind in wrappers(sources):
        dataset = DATASETS.build(wrappers(sources)[kind])
        visualizer = PanopticVisualizer()
        visualizer.dataset_meta = dataset.metainfo
        assert visualizer.dataset_meta['classes'] == ('ball', 'sky')
        ClassConsistencyHook()._check(Runner, 'train', dataset)
        assert dataset.metainfo['thing_classes'] == ('ball', )


def test_sources_of_other_classes(sources):
    sources[1]['metainfo'] = dict(META, stuff_classes=())
    sources[1]['void_unselected'] = True
    dataset = DATASETS.build(wrappers(sources)['concat'])
    with pytest.raises(ValueError, match="the same classes: number 0 has .*'sky'.*number 1 has"):
        common_metainfo(dataset.metainfo)
    evaluator = Evaluator(PanopticMetric())
    with pytest.raises(ValueError, match='of a ConcatDataset must have the same classes'):
        evaluator.dataset_meta = dataset.metainfo


def test_label_maps_of_other_values(tmp_path):
    """One source with values 0 and 1, one with 100 and 200."""
    labels = np.array([[0, 0, 1], [1, 1, 255]], np.uint8)
    configs = []
    other = np.array([100, 200, *[0] * 253, 7], np.uint8)[labels]
    for name, values in (('a', labels), ('b', other)):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / 'x.jpg'), np.zeros((2, 3, 3), np.uint8))
        cv2.imwrite(str(tmp_path / name / 'x.png'), values)
        coding = dict(label_map={100: 0, 200: 1}, ignore_index=7) if name == 'b' else {}
        configs.append(dict(
            type='mmpanseg.SemanticDataset', data_prefix=dict(img=f'{tmp_path}/{name}',
                                                              seg=f'{tmp_path}/{name}'),
            metainfo=dict(classes=('low', 'high'), **coding), test_mode=True,
            pipeline=[PIPELINE[0], dict(type='mmpanseg.LoadSemanticMap'), PIPELINE[2]]))
    dataset = DATASETS.build(dict(type='ConcatDataset', datasets=configs))
    evaluator = Evaluator(SemanticMetric())
    evaluator.dataset_meta = dataset.metainfo
    for item in dataset:
        sample = item['data_samples']
        assert sample.gt_segments.map.tolist() == [[0, 0, 1], [1, 1, -1]]
        result = DetDataSample(metainfo=sample.metainfo)
        result.pred_sem_seg = PixelData(sem_seg=torch.tensor([[[0, 0, 1], [1, 1, 0]]]))
        evaluator.process(data_samples=[result])
    assert evaluator.evaluate(2)['semantic/mIoU'] == pytest.approx(100)


def test_label_maps_are_stored_once(tmp_path):
    for k in range(20):
        cv2.imwrite(str(tmp_path / f'{k}.jpg'), np.zeros((2, 3, 3), np.uint8))
    dataset = SemanticDataset(
        data_prefix=dict(img=str(tmp_path)), pipeline=[],
        metainfo=dict(classes=('low', 'high'), label_map={value: 1 for value in range(255)}))
    stored = len(dataset.data_bytes) / 20
    assert stored < 400 and len(dataset.get_data_info(3)['label_map']) == 255
