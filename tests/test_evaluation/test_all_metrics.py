"""All metrics at once on a data set read from files, as a config names them."""
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.evaluator import Evaluator
from mmengine.structures import InstanceData, PixelData

from mmpanseg.datasets import CocoPanopticDataset
from mmpanseg.structures.panoptic_png import read_panoptic_png

METRICS = [
    dict(type='mmpanseg.PanopticMetric', boundary_width=0.02, by_size=True),
    dict(type='mmpanseg.SemanticMetric', source='panoptic'),
    dict(type='mmpanseg.InstanceMetric'),
    dict(type='mmpanseg.BoundaryAPMetric')]


def perfect_output(info: dict, num_classes: int, num_things: int) -> DetDataSample:
    """What a model would give that knows the annotation; crowds and void are called stuff 0."""
    ids = read_panoptic_png(info['seg_map_path'])
    pan_map = np.full(ids.shape, num_classes)
    sem_map = np.full(ids.shape, num_things)
    masks, labels = [], []
    for number, segment in enumerate(info['segments_info'], 1):
        mask, label = ids == segment['id'], segment['category']
        sem_map[mask] = label
        if segment['iscrowd']:
            continue
        pan_map[mask] = label + 1000 * number * (label < num_things)
        if label < num_things:
            masks.append(mask)
            labels.append(label)
    sample = DetDataSample(metainfo=dict(info))
    sample.pred_panoptic_seg = PixelData(sem_seg=torch.from_numpy(pan_map)[None])
    sample.pred_sem_seg = PixelData(sem_seg=torch.from_numpy(sem_map)[None])
    sample.pred_instances = InstanceData(
        masks=torch.from_numpy(np.array(masks, bool).reshape(-1, *ids.shape)),
        labels=torch.tensor(labels, dtype=torch.int64), scores=torch.ones(len(labels)))
    return sample


@pytest.fixture()
def data_set(shared: Path) -> CocoPanopticDataset:
    return CocoPanopticDataset(
        ann_file='panoptic_examples.json', data_root=str(shared / 'data/coco_panoptic_sample'),
        data_prefix=dict(img='input_images', seg='panoptic_examples'), test_mode=True, pipeline=[])


def test_perfect_outputs_of_real_images(data_set):
    classes, things = data_set.metainfo['classes'], data_set.metainfo['thing_classes']
    infos = [data_set.get_data_info(index) for index in range(len(data_set))]
    evaluator = Evaluator(METRICS)
    evaluator.dataset_meta = data_set.metainfo
    evaluator.process(data_samples=[
        perfect_output(info, len(classes), len(things)) for info in infos])
    results = evaluator.evaluate(len(infos))
    assert {name.split('/')[0] for name in results} == {'panoptic', 'semantic', 'instance',
                                                        'boundary'}
    # no small stuff and no large things in these images
    absent = {'panoptic/PQ_small_st': 0, 'panoptic/PQ_large_th': 0, 'instance/APl': -1,
              'boundary/APl': -1}
    for name, value in results.items():
        assert value == pytest.approx(absent.get(name, 100)), name


def test_panoptic_and_converted_annotations_give_the_same_average(shared, data_set):
    """The sample comes with its instances as the panoptic API writes them, stuff included."""
    ann_file = shared / 'data/coco_panoptic_sample/panoptic_coco_detection_format.json'
    metrics = [dict(metric, prefix=f'{source}_{number}', **options)
               for source, options in (('png', {}), ('json', dict(ann_file=str(ann_file))))
               for number, metric in enumerate(METRICS[2:])]
    classes, things = data_set.metainfo['classes'], data_set.metainfo['thing_classes']
    rng = np.random.default_rng(0)
    evaluator = Evaluator(metrics)
    evaluator.dataset_meta = data_set.metainfo
    for index in range(len(data_set)):
        sample = perfect_output(data_set.get_data_info(index), len(classes), len(things))
        pred = sample.pred_instances
        pred.masks = torch.roll(pred.masks, (1, 2), (1, 2))
        pred.scores = torch.from_numpy(rng.random(len(pred)))
        evaluator.process(data_samples=[sample])
    results = evaluator.evaluate(len(data_set))
    for number in range(2):
        of_png, of_json = ({name.split('/')[1]: value for name, value in results.items()
                            if name.startswith(f'{source}_{number}')} for source in ('png', 'json'))
        assert of_png == of_json and 10 < of_png['AP'] < 95
