"""Every base config of a dataset reads small files in its layout and scores a prediction."""
import copy
import json
import pickle
import random

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.structures import InstanceData, PixelData

from mmpanseg.datasets import CocoPanopticDataset
from mmpanseg.datasets.converters import convert_ade20k, convert_cityscapes, convert_coco_semantic
from mmpanseg.datasets.mapillary import LABELS, VistasLabel
from mmpanseg.registry import DATASETS, METRICS

HEIGHT, WIDTH = 24, 40


@pytest.fixture(scope='module')
def data_folder(tmp_path_factory, downloads):
    """The folder data/ with all datasets, converted."""
    root = tmp_path_factory.mktemp('data')
    downloads.cityscapes(root / 'cityscapes')
    downloads.ade20k(root / 'ADEChallengeData2016')
    (root / 'mapillary_vistas').mkdir()
    downloads.vistas(root / 'mapillary_vistas',
                     LABELS + (VistasLabel('Unlabeled', False, (0, 0, 0), False), ))
    _write_coco(root / 'coco', downloads)
    for split in ('train', 'val'):
        convert_cityscapes(root / 'cityscapes', root / 'cityscapes', split)
        convert_ade20k(root / 'ADEChallengeData2016', root / 'ADEChallengeData2016', split)
        convert_coco_semantic(root / 'coco', root / 'coco', f'{split}2017')
    return root


def _write_coco(root, downloads):
    """Two overlapping polygons and a crowd; as panoptic data two persons and a rug."""
    ids = np.zeros((HEIGHT, WIDTH), np.int64)
    ids[:8], ids[8:12], ids[12:16] = 70000, 3, 900
    rgb = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], -1).astype(np.uint8)
    names = CocoPanopticDataset.METAINFO['classes']
    categories = [dict(id=k + 1, name=name, isthing=int(k < 80)) for k, name in enumerate(names)]
    image = dict(id=139, file_name='000000000139.jpg', height=HEIGHT, width=WIDTH)
    square = np.array([2., 2, 20, 2, 20, 12, 2, 12])
    common = dict(image_id=139, area=180, bbox=[2, 2, 18, 10])
    for split in ('train2017', 'val2017'):
        downloads.save_photo(root / split / '000000000139.jpg')
        downloads.save(root / f'annotations/panoptic_{split}/000000000139.png', rgb)
        (root / f'annotations/panoptic_{split}.json').write_text(json.dumps(dict(
            images=[image], categories=categories, annotations=[dict(
                image_id=139, file_name='000000000139.png', segments_info=[
                    dict(id=70000, category_id=1, iscrowd=0),
                    dict(id=3, category_id=1, iscrowd=0),
                    dict(id=900, category_id=len(names), iscrowd=0)])])))
        (root / f'annotations/instances_{split}.json').write_text(json.dumps(dict(
            images=[image], categories=categories[:80], annotations=[
                dict(id=1, category_id=1, iscrowd=0, segmentation=[square.tolist()], **common),
                dict(id=2, category_id=3, iscrowd=0, segmentation=[(square + 4).tolist()],
                     **common),
                dict(id=3, category_id=1, iscrowd=1, segmentation=dict(
                    size=[HEIGHT, WIDTH], counts=[0, 24, HEIGHT * WIDTH - 24]), **common)])))


# config -> size of a training image and of one at test (height, width), number of labels
CASES = dict(
    coco_panoptic_lsj=((1024, 1024), (800, 1333), 133),
    coco_instance_lsj=((1024, 1024), (800, 1333), 80),
    coco_stuff_semantic=((1024, 1024), (800, 1333), 133),
    ade20k_panoptic_640=((640, 640), (640, 1067), 150),
    ade20k_instance_640=((640, 640), (640, 1067), 100),
    ade20k_semantic_512=((512, 512), (512, 853), 150),
    ade20k_semantic_640=((640, 640), (640, 1067), 150),
    cityscapes_panoptic=((512, None), (1024, 1707), 19),
    cityscapes_instance=((512, None), (1024, 1707), 8),
    cityscapes_semantic=((512, None), (1024, 1707), 19),
    mapillary_panoptic=((1024, 1024), (1229, 2048), 65),
    mapillary_semantic=((1024, 1024), (1229, 2048), 65))


def _moved(entry, folder):
    """A config with data/ replaced by another folder."""
    if isinstance(entry, str):
        return f'{folder}/{entry[5:]}' if entry.startswith('data/') else entry
    if isinstance(entry, dict):
        return {key: _moved(value, folder) for key, value in entry.items()}
    if isinstance(entry, (list, tuple)):
        return type(entry)(_moved(value, folder) for value in entry)
    return entry


def _config(repo_root, name, data_folder):
    config = Config.fromfile(repo_root / f'configs/_base_/datasets/{name}.py')
    return Config(_moved(config.to_dict(), data_folder))


def test_documentation_lists_the_configs(repo_root):
    rows = [row.split('|')[1:-1] for row in (
        repo_root / 'docs/datasets.md').read_text().splitlines()
            if row.startswith('| `')]
    classes = {row[0].strip(' `'): sum(int(part) for part in row[1].split('+')) for row in rows}
    for name, case in CASES.items():
        assert classes[name] == case[2]


@pytest.mark.parametrize('name', CASES)
def test_training_images(repo_root, data_folder, name):
    (height, width), _, count = CASES[name]
    config = _config(repo_root, name, data_folder)
    data = DATASETS.build(config.train_dataloader.dataset)
    assert len(data.metainfo['classes']) == count and len(data.metainfo['palette']) == count
    np.random.seed(1)
    sample = data[0]
    assert sample['inputs'].dtype == torch.uint8
    assert sample['inputs'].shape[1] == height
    # Cityscapes' crop of 1024 is as wide as the image where that is less
    assert sample['inputs'].shape[2] == (width or min(1024, sample['inputs'].shape[2]))
    segments = sample['data_samples'].gt_segments
    assert segments.shape == tuple(sample['inputs'].shape[1:])
    assert segments.labels.max() < count
    assert (segments.map is None) == (name == 'coco_instance_lsj')
    if 'instance' in name:
        assert len(segments) == (3 if 'ade20k' in name else 2)


def test_training_crops_are_of_the_right_kind(repo_root, data_folder):
    config = _config(repo_root, 'cityscapes_semantic', data_folder)
    data = DATASETS.build(config.train_dataloader.dataset)
    widths = set()
    for seed in range(6):
        np.random.seed(seed)
        widths.add(data[0]['inputs'].shape[2])
    # 40 x 24 pixels become 853 x 512 up to 3413 x 2048
    assert max(widths) == 1024 and min(widths) >= 853


def _prediction(name, sample, data, original):
    """A prediction equal to the ground truth, at the size of the original image."""
    result = DetDataSample(metainfo=sample.metainfo)
    segments = original.gt_segments
    if 'panoptic' in name:
        things = torch.tensor([label < len(data.metainfo['thing_classes'])
                               for label in segments.labels.tolist()])
        values = segments.labels + things * 1000 * torch.arange(1, len(segments) + 1)
        values = torch.cat([values, torch.tensor([len(data.metainfo['classes'])])])
        result.pred_panoptic_seg = PixelData(sem_seg=values[segments.map.long()][None])
    elif 'semantic' in name or 'stuff' in name:
        labels = torch.cat([segments.labels, torch.tensor([0])])
        result.pred_sem_seg = PixelData(sem_seg=labels[segments.map.long()][None])
    else:
        result.pred_instances = InstanceData(
            masks=segments.dense(), labels=segments.labels, scores=torch.ones(len(segments)),
            bboxes=torch.zeros(len(segments), 4))
    return result.to_dict()


@pytest.mark.parametrize('name, short, longest', [
    ('ade20k_semantic_512', 512, 2048), ('ade20k_semantic_640', 640, 2560),
    ('ade20k_panoptic_640', 640, 2560), ('cityscapes_panoptic', 1024, 4096),
    ('cityscapes_semantic', 1024, 4096), ('mapillary_panoptic', 2048, 8192),
    ('mapillary_semantic', 2048, 8192)])
def test_published_sizes_and_order(repo_root, name, short, longest):
    config = Config.fromfile(repo_root / f'configs/_base_/datasets/{name}.py')
    steps = [step['type'].split('.')[-1] for step in config.train_dataloader.dataset.pipeline]
    assert steps[2:6] == ['RandomChoiceResize', 'RandomCrop', 'SSDColorJitter', 'RandomFlip']
    assert ('Pad' in steps) == ('cityscapes' not in name)
    # the published list is int(0.1 x size) for x = 5 .. 20
    assert list(config.train_dataloader.dataset.pipeline[2]['scales']) == [
        (longest, int(x * 0.1 * short)) for x in range(5, 21)]


@pytest.mark.parametrize('name', CASES)
def test_perfect_predictions_score_full_marks(repo_root, data_folder, name):
    _, (height, width), count = CASES[name]
    config = _config(repo_root, name, data_folder)
    dataset = config.val_dataloader.dataset
    data = DATASETS.build(dataset)
    assert tuple(data[0]['inputs'].shape[1:]) == (height, width)
    loading = [step for step in config.train_dataloader.dataset.pipeline
               if 'Load' in step['type']]
    originals = DATASETS.build(dict(dataset, pipeline=[
        *loading, dict(type='mmpanseg.PackPanopticInputs')]))
    metric = METRICS.build(config.val_evaluator)
    metric.dataset_meta = data.metainfo
    for index in range(len(data)):
        sample = data[index]['data_samples']
        assert tuple(sample.ori_shape) == (HEIGHT, WIDTH)
        metric.process({}, [_prediction(name, sample, data, originals[index]['data_samples'])])
    scores = metric.evaluate(len(data))
    key = next(key for key in ('panoptic/PQ', 'semantic/mIoU', 'instance/AP') if key in scores)
    assert scores[key] == pytest.approx(100)


@pytest.mark.parametrize('name', [name for name in CASES if '512' not in name])
def test_data_and_metrics_can_be_pickled(repo_root, data_folder, name):
    """What workers that start afresh ('spawn') are given."""
    config = _config(repo_root, name, data_folder)
    data = DATASETS.build(config.train_dataloader.dataset)
    samples = []
    for dataset in (data, pickle.loads(pickle.dumps(data))):
        np.random.seed(0)
        torch.manual_seed(0)
        random.seed(0)
        samples.append(pickle.loads(pickle.dumps(dataset[0])))
    assert torch.equal(samples[0]['inputs'], samples[1]['inputs'])
    ours, theirs = (sample['data_samples'].gt_segments for sample in samples)
    assert torch.equal(ours.labels, theirs.labels)
    assert torch.equal(ours.dense(), theirs.dense())
    metrics = config.val_evaluator
    for metric in metrics if isinstance(metrics, list) else [metrics]:
        built = METRICS.build(metric)
        assert vars(pickle.loads(pickle.dumps(built))).keys() == vars(built).keys()


@pytest.mark.slow
def test_workers_that_start_afresh(repo_root, data_folder):
    loader = _config(repo_root, 'ade20k_panoptic_640', data_folder).val_dataloader
    loader.update(num_workers=0, persistent_workers=False)
    expected = next(iter(Runner.build_dataloader(copy.deepcopy(loader))))
    loader.update(num_workers=1, multiprocessing_context='spawn')
    found = next(iter(Runner.build_dataloader(loader)))
    assert torch.equal(found['inputs'][0], expected['inputs'][0])
    assert found['data_samples'][0].img_path == expected['data_samples'][0].img_path
