"""Two sources with other category ids in every wrapper: labels, training steps, scores, ids."""
import copy
import json
import shutil
from collections import Counter

import cv2
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.registry import DefaultScope, init_default_scope
from mmengine.structures import PixelData

from mmpanseg.evaluation import PanopticMetric
from mmpanseg.registry import DATASETS, MODELS

from ..test_models.systems import MASK2FORMER
from .conftest import save_ids

META = dict(thing_classes=('ball', ), stuff_classes=('sky', 'sand'))
LOAD = [dict(type='LoadImageFromFile'), dict(type='mmpanseg.LoadPanopticMap')]
PACK = dict(type='mmpanseg.PackPanopticInputs')
JITTER = dict(type='mmpanseg.LargeScaleJitter', size=(64, 64), scale_range=(0.8, 1.2))
PASTE = dict(type='mmpanseg.PanopticCopyPaste', size=(64, 64), transforms=[JITTER])
# ids of ball, sky and sand in the two files
IDS = ((5, 2, 9), (31, 77, 4))
LABELS = {0: (0, 1), 1: (0, 1, 2), 10: (0, 1), 11: (1, 2), 12: (0, 1)}


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """Two sources of 2 and 3 images with the labels of LABELS."""
    root = tmp_path_factory.mktemp('sources')
    rng = np.random.default_rng(0)
    for source, ids in enumerate(IDS):
        for folder in ('img', 'seg'):
            (root / f'{source}/{folder}').mkdir(parents=True)
        numbers = [k for k in LABELS if k // 10 == source]
        content = dict(images=[], annotations=[], categories=[
            dict(id=ids[2], name='sand', isthing=0), dict(id=ids[0], name='ball', isthing=1),
            dict(id=ids[1], name='sky', isthing=0)])
        for k in numbers:
            index = np.zeros((48, 64), np.int64)
            for place, label in enumerate(LABELS[k]):
                index[8 * place:, 16 * place:] = 100 + label
            cv2.imwrite(str(root / f'{source}/img/{k}.jpg'),
                        rng.integers(0, 255, (48, 64, 3), dtype=np.uint8))
            save_ids(root / f'{source}/seg/{k}.png', index)
            content['images'].append(dict(id=k, file_name=f'{k}.jpg', height=48, width=64))
            content['annotations'].append(dict(image_id=k, file_name=f'{k}.png', segments_info=[
                dict(id=100 + label, category_id=ids[label], iscrowd=0) for label in LABELS[k]]))
        (root / f'{source}/panoptic.json').write_text(json.dumps(content))
    yield root
    shutil.rmtree(root)


def sources(root, pipeline, **options):
    return [dict(type='mmpanseg.PanopticDataset', ann_file='panoptic.json',
                 data_root=str(root / str(k)), data_prefix=dict(img='img', seg='seg'),
                 metainfo=META, pipeline=copy.deepcopy(pipeline), **options) for k in range(2)]


def wrapped(root, kind, crop=True):
    """A wrapper of both sources; ``crop``: with random crops as in training."""
    steps = [JITTER, dict(type='Pad', size=(64, 64))] if crop else []
    parts = sources(root, [*LOAD, *steps, PACK])
    bare = dict(type='ConcatDataset', datasets=sources(root, LOAD))
    concat = dict(type='ConcatDataset', datasets=parts)
    mixing = [JITTER, PASTE, PACK] if crop else [PACK]
    return dict(
        concat=concat, repeat=dict(type='RepeatDataset', times=3, dataset=concat),
        balanced=dict(type='ClassBalancedDataset', oversample_thr=0.9, dataset=concat),
        balanced_repeat=dict(type='ClassBalancedDataset', oversample_thr=0.9, dataset=dict(
            type='RepeatDataset', times=2, dataset=concat)),
        nested=dict(type='ConcatDataset', datasets=[concat, parts[0]]),
        mix=dict(type='mmpanseg.ResamplingMixDataset', dataset=bare, pipeline=mixing),
        mix_of_mmdet=dict(type='MultiImageMixDataset', dataset=bare, pipeline=mixing),
        mix_of_balanced=dict(type='mmpanseg.ResamplingMixDataset', pipeline=mixing, dataset=dict(
            type='ClassBalancedDataset', oversample_thr=0.9, dataset=bare)))[kind]


KINDS = ('concat', 'repeat', 'balanced', 'balanced_repeat', 'nested', 'mix', 'mix_of_mmdet',
         'mix_of_balanced')


@pytest.fixture(scope='module')
def model():
    init_default_scope('mmdet')
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(dict(MASK2FORMER, type='mmpanseg.MaskTransformer',
                                 num_things_classes=1, num_stuff_classes=2))


@pytest.mark.parametrize('kind', [
    pytest.param(kind, marks=() if kind in ('concat', 'mix') else pytest.mark.slow)
    for kind in KINDS])
def test_training_step(root, model, kind):
    np.random.seed(0)
    torch.manual_seed(0)
    dataset = DATASETS.build(wrapped(root, kind))
    pasted = 0
    for k in range(len(dataset)):
        item = dataset[k]
        segments = item['data_samples'].gt_segments
        assert item['inputs'].shape[0] == 3 and set(segments.labels.tolist()) <= {0, 1, 2}
        pasted += (segments.labels == 0).sum() > 1  # no image has two balls
    assert bool(pasted) == kind.startswith('mix')
    batch = model.data_preprocessor(pseudo_collate([dataset[0], dataset[len(dataset) - 1]]), True)
    losses = model.train()(**batch, mode='loss')
    total, _ = model.parse_losses(losses)
    total.backward()
    assert torch.isfinite(total) and model.backbone.conv1.weight.grad.abs().sum() > 0
    model.zero_grad()


@pytest.mark.parametrize('kind', KINDS)
def test_ground_truth_against_itself(tmp_path, root, kind):
    dataset = DATASETS.build(wrapped(root, kind, crop=False))
    evaluator = Evaluator(PanopticMetric(outfile_prefix=str(tmp_path / 'results')))
    evaluator.dataset_meta = dataset.metainfo
    seen = set()
    for k in range(len(dataset)):
        sample = dataset[k]['data_samples']
        if sample.img_id in seen:  # repeated
            continue
        seen.add(sample.img_id)
        segments = sample.gt_segments
        assert tuple(sorted(segments.labels.tolist())) == LABELS[sample.img_id]
        values = segments.labels + 1000 * (segments.labels < 1)
        coded = torch.cat([values, torch.tensor([3])])[segments.map.long()]
        result = DetDataSample(metainfo=sample.metainfo)
        result.pred_panoptic_seg = PixelData(sem_seg=coded[None])
        evaluator.process(data_samples=[result])
    assert seen == set(LABELS)
    scores = evaluator.evaluate(len(seen))
    assert {scores[f'panoptic/{name}'] for name in ('PQ', 'PQ_th', 'PQ_st', 'SQ')} == {100.0}
    written = {a['image_id']: sorted(s['category_id'] for s in a['segments_info'])
               for a in json.loads((tmp_path / 'results.json').read_text())['annotations']}
    assert written == {k: sorted(IDS[k // 10][label] for label in labels)
                       for k, labels in LABELS.items()}


def test_instances_with_copy_paste_of_mmdet(root, model):
    for source, ids in enumerate(IDS):
        content = json.loads((root / f'{source}/panoptic.json').read_text())
        content['annotations'] = [
            dict(id=k, image_id=image['id'], category_id=ids[k % 2], iscrowd=0,
                 bbox=[4, 4, 20, 20], area=400, segmentation=[[4, 4, 24, 4, 24, 24, 4, 24]])
            for k, image in enumerate(content['images'])]
        (root / f'{source}/instances.json').write_text(json.dumps(content))
    load = [LOAD[0], dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
            dict(type='RandomCrop', crop_size=(40, 40), allow_negative_crop=True),
            dict(type='Resize', scale=(64, 64)), dict(type='RandomFlip', prob=0.5)]
    parts = [dict(type='mmpanseg.InstanceDataset', ann_file='instances.json',
                  data_root=str(root / str(k)), data_prefix=dict(img='img'), pipeline=load,
                  metainfo=dict(classes=('ball', 'sky', 'sand'))) for k in range(2)]
    dataset = DATASETS.build(dict(
        type='MultiImageMixDataset', dataset=dict(
            type='ClassBalancedDataset', oversample_thr=1e-9,
            dataset=dict(type='ConcatDataset', datasets=parts)),
        pipeline=[dict(type='CopyPaste', max_num_pasted=3, bbox_occluded_thr=0,
                       mask_occluded_thr=0, selected=False), PACK]))
    np.random.seed(0)
    # labels of both files by name, not by id
    assert [dataset.dataset.get_cat_ids(k) for k in range(5)] == [[0], [1], [0], [1], [0]]
    items = [dataset[k] for k in range(5)]
    assert {label for item in items for label in
            item['data_samples'].gt_segments.labels.tolist()} == {0, 1}
    assert max(len(item['data_samples'].gt_segments) for item in items) == 2
    assert [item['data_samples'].label2cat for item in items] == [
        {0: 5, 1: 2, 2: 9}] * 2 + [{0: 31, 1: 77, 2: 4}] * 3
    losses = model.train()(**model.data_preprocessor(pseudo_collate(items[:2]), True), mode='loss')
    assert torch.isfinite(model.parse_losses(losses)[0])


def test_rare_classes_are_repeated(root):
    """Against the formula of LVIS: an image is repeated ceil(max over c of sqrt(t / f(c)))."""
    dataset = DATASETS.build(wrapped(root, 'balanced', crop=False))
    share = {label: sum(label in labels for labels in LABELS.values()) / 5 for label in range(3)}
    expected = {k: int(np.ceil(max(max(1, (0.9 / share[label]) ** 0.5) for label in labels)))
                for k, labels in LABELS.items()}
    counts = Counter(dataset[k]['data_samples'].img_id for k in range(len(dataset)))
    assert counts == expected and counts[1] == 2 and counts[0] == 2


def test_other_classes_in_an_inner_one(root):
    config = wrapped(root, 'nested')
    config['datasets'][0]['datasets'][1]['metainfo'] = dict(
        META, stuff_classes=('sand', 'sky'))
    with pytest.raises(ValueError, match='must have the same classes: number 0 has'):
        DATASETS.build(config)
