"""Segments of mmdet's samples against this library's own loading."""
import json

import cv2
import numpy as np
import pytest
import torch
from mmdet.datasets import CocoPanopticDataset as MMDetCocoPanopticDataset
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData, PixelData

from mmpanseg.datasets import CocoPanopticDataset, PanopticDataset
from mmpanseg.registry import MODELS
from mmpanseg.structures import SegmentMap
from mmpanseg.structures.mmdet_samples import segments_from_sample
from mmpanseg.structures.panoptic_png import write_panoptic_png

LOAD = dict(type='LoadImageFromFile')
THEIRS = [LOAD, dict(type='LoadPanopticAnnotations'), dict(type='PackDetInputs')]
OURS = [LOAD, dict(type='mmpanseg.LoadPanopticMap'), dict(type='mmpanseg.PackPanopticInputs')]
SIZE = 64


@pytest.fixture
def files(tmp_path):
    """Two images of COCO panoptic: three things, a crowd and two stuff classes, void at the top."""
    names = CocoPanopticDataset.METAINFO['classes']
    ids = np.full((SIZE, SIZE), 900)
    ids[30:] = 901
    ids[10:20, 5:15], ids[12:40, 30:44], ids[50:60, 3:20], ids[22:28, 50:60] = 7, 8, 70000, 11
    ids[:4] = 0
    # segment id -> label, crowd
    segments = {7: (2, 0), 900: (119, 0), 8: (0, 0), 901: (81, 0), 70000: (2, 0), 11: (0, 1)}
    images, annotations = [], []
    for number, turned in enumerate((ids, ids[::-1, ::-1])):
        rng = np.random.default_rng(number)
        cv2.imwrite(str(tmp_path / f'{number}.jpg'), rng.integers(0, 255, (SIZE, SIZE, 3)))
        write_panoptic_png(tmp_path / f'{number}.png', turned)
        images.append(dict(id=number, file_name=f'{number}.jpg', height=SIZE, width=SIZE))
        infos = []
        for i, (label, crowd) in segments.items():
            y, x = np.nonzero(turned == i)
            infos.append(dict(id=i, category_id=label + 1, iscrowd=crowd, area=len(x), bbox=[
                int(x.min()), int(y.min()), int(np.ptp(x)) + 1, int(np.ptp(y)) + 1]))
        annotations.append(dict(image_id=number, file_name=f'{number}.png', segments_info=infos))
    (tmp_path / 'panoptic.json').write_text(json.dumps(dict(
        images=images, annotations=annotations, categories=[
            dict(id=k + 1, name=name, isthing=int(k < 80)) for k, name in enumerate(names)])))
    return dict(ann_file='panoptic.json', data_root=str(tmp_path),
                data_prefix=dict(img='', seg=''))


def as_set(segments):
    """Labels and pixels, whatever the order."""
    return sorted((label, mask.numpy().tobytes())
                  for label, mask in zip(segments.labels.tolist(), segments.dense()))


def both(files, steps=()):
    """Samples of mmdet's data set and pipeline, and of ours."""
    theirs = MMDetCocoPanopticDataset(
        pipeline=[*THEIRS[:2], *steps, THEIRS[2]],
        **dict(files, data_prefix=dict(img=files['data_root'], seg=files['data_root'])))
    ours = CocoPanopticDataset(pipeline=[*OURS[:2], *steps, OURS[2]], **files)
    return [theirs[k] for k in range(2)], [ours[k] for k in range(2)]


@pytest.mark.parametrize('steps', [
    (), (dict(type='RandomFlip', prob=1.0), dict(type='Resize', scale=(96, 96)))])
def test_same_segments_as_our_loading(files, steps):
    for theirs, ours in zip(*both(files, steps)):
        segments = segments_from_sample(theirs['data_samples'], 80, 133)
        assert segments.labels.tolist() == [2, 0, 2, 81, 119] and segments.map is not None
        assert as_set(segments) == as_set(ours['data_samples'].gt_segments)


def model_config(repo_root, system):
    from mmengine.config import Config
    path = {'kmax': 'kmax_r18_small', 'segformer': 'panoptic_segformer_r18_small'}.get(
        system, 'mask2former_r18_small')
    config = Config.fromfile(repo_root / f'configs/_base_/models/{path}.py').model
    config.update(num_things_classes=80, num_stuff_classes=53)
    if system == 'mp_former':
        config.panoptic_head.type = 'mmpanseg.MPFormerHead'
    return config


@pytest.mark.parametrize('system', ['mask2former', 'mp_former', 'segformer', 'kmax'])
def test_every_system_trains_on_mmdets_samples(repo_root, files, system):
    """The losses are those of our own loading with the segments in the same order."""
    torch.manual_seed(0)
    model = MODELS.build(model_config(repo_root, system))
    model.train()
    losses = []
    for number in range(2):
        theirs, ours = both(files)
        if number:
            batch = ours
            for item in ours:
                segments = item['data_samples'].gt_segments
                masks = segments.dense()
                order = sorted(range(len(segments)),
                               key=lambda k: max(int(segments.labels[k]), 79))
                index = segments.map.new_full(segments.map.shape, -1)
                for place, k in enumerate(order):
                    index[masks[k]] = place
                item['data_samples'].gt_segments = SegmentMap(segments.labels[order], map=index)
        else:
            batch = theirs
        torch.manual_seed(1)
        data = model.data_preprocessor(dict(
            inputs=[item['inputs'] for item in batch],
            data_samples=[item['data_samples'] for item in batch]), True)
        with torch.no_grad():
            losses.append(model.loss(data['inputs'], data['data_samples']))
    assert losses[0].keys() == losses[1].keys() and len(losses[0])
    for name, value in losses[0].items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(losses[1][name])), name


def sample(masks=None, labels=(), sem_seg=None, **metainfo):
    result = DetDataSample(metainfo=dict(img_path='a.jpg'))
    result.gt_instances = InstanceData()
    if masks is not None:
        masks = np.asarray(masks, np.uint8)
        result.gt_instances = InstanceData(
            masks=BitmapMasks(masks, *masks.shape[1:]), labels=torch.tensor(labels))
    if sem_seg is not None:
        result.gt_sem_seg = PixelData(sem_seg=torch.tensor([sem_seg]), metainfo=metainfo)
    return result


def test_hand_made():
    things = sample([[[1, 1, 0], [0, 0, 0]], [[0, 1, 0], [0, 1, 0]]], [1, 0])
    segments = segments_from_sample(things, 2, 2)
    assert segments.labels.tolist() == [1, 0] and segments.map is None
    assert segments.dense().int().tolist() == things.gt_instances.masks.masks.tolist()
    semantic = sample(sem_seg=[[4, 0, 255], [0, 4, 255]])
    segments = segments_from_sample(semantic, 0, 5)
    assert segments.labels.tolist() == [0, 4]
    assert segments.map.tolist() == [[1, 0, -1], [0, 1, -1]]
    segments = segments_from_sample(sample(sem_seg=[[4, 0, 7]], ignore_index=7), 0, 5)
    assert segments.map.tolist() == [[1, 0, -1]]
    empty = segments_from_sample(sample(np.zeros((0, 2, 3)), [], [[255] * 3] * 2), 2, 5)
    assert len(empty) == 0 and empty.map.tolist() == [[-1] * 3] * 2


@pytest.mark.parametrize('given, classes, text', [
    (sample(), (2, 3), 'no gt_segments for a.jpg'),
    (sample(sem_seg=[[0, 1]]), (2, 3), 'a.jpg: .*no masks in gt_instances .* 2 thing classes'),
    (sample([[[1]]], [0]), (2, 3), 'a.jpg: .*no gt_sem_seg .* 1 stuff classes'),
    (sample([[[1]]], [2], [[2]]), (2, 3), r'a.jpg: gt_instances has 1 masks with the labels \[2\]'),
    (sample(sem_seg=[[0, 9]]), (0, 5), 'a.jpg: gt_sem_seg has the values 0 .. 9; labels are 0'),
    (sample(sem_seg=[[0, 9]]), (0, 300), '255 means no label'),
    (sample(sem_seg=[[0, 1]], ignore_index=-1), (0, 5), 'use mmpanseg.PackPanopticInputs')])
def test_samples_that_do_not_fit_the_model(given, classes, text):
    with pytest.raises(ValueError, match=text):
        segments_from_sample(given, *classes)


@pytest.mark.parametrize('kind', [PanopticDataset, MMDetCocoPanopticDataset])
def test_a_map_of_segments_is_not_taken_for_labels(files, kind):
    """PackDetInputs behind LoadPanopticMap, on our data set and on mmdet's."""
    files['data_prefix'] = dict(img=files['data_root'], seg=files['data_root'])
    dataset = kind(pipeline=[*OURS[:2], THEIRS[2]], **files)
    with pytest.raises(ValueError, match='mmpanseg.PackPanopticInputs'):
        segments_from_sample(dataset[0]['data_samples'], 0, 133)
    # whatever the model's classes
    with pytest.raises(ValueError, match='mmpanseg.PackPanopticInputs'):
        segments_from_sample(dataset[0]['data_samples'], 80, 133)


def test_mmdets_loading_on_our_data_set_is_refused(files):
    with pytest.raises(ValueError, match='LoadPanopticAnnotations.*mmpanseg.LoadPanopticMap'):
        PanopticDataset(pipeline=THEIRS, **files)
