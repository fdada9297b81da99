"""Mask AP and Boundary AP, against mmdet's CocoMetric and against a slow direct evaluation."""
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmdet.evaluation import CocoMetric
from mmdet.structures import DetDataSample
from mmengine.evaluator import Evaluator
from mmengine.structures import InstanceData
from pycocotools import mask as rle_tools

from mmpanseg.evaluation import BoundaryAPMetric, InstanceMetric, PanopticDataError
from mmpanseg.structures.panoptic_png import write_panoptic_png

META = dict(classes=('cat', 'dog', 'cup', 'sky'), thing_classes=('cat', 'dog', 'cup'),
            stuff_classes=('sky', ))
# not in the order of the labels, with one that is no class
CATEGORIES = [dict(id=9, name='dog'), dict(id=4, name='cat'), dict(id=12, name='zebra'),
              dict(id=2, name='cup')]
CATEGORY_OF = {0: 4, 1: 9, 2: 2}
NAMES = ['AP', 'AP50', 'AP75', 'APs', 'APm', 'APl']


def random_image(rng: np.random.Generator, img_id: int) -> tuple[list, DetDataSample]:
    """Overlapping objects as (label, crowd, mask), and noisy, partly wrong predictions of them."""
    height, width = 150 + img_id, 200
    y, x = np.mgrid[:height, :width]
    objects, masks, labels = [], [], []
    for _ in range(rng.integers(3, 9)):
        top, left, size = rng.integers(height), rng.integers(width), rng.integers(6, 150)
        label = int(rng.integers(3))
        shape = (((x - left) ** 2 + (y - top) ** 2 < size ** 2 / 4) if rng.random() < .5 else
                 (abs(x - left) < size / 2) & (abs(y - top) < size / 3))
        objects.append((label, bool(rng.random() < .15), shape))
        for _ in range(rng.integers(3)):
            masks.append(np.roll(shape, rng.integers(-4, 5, 2), (0, 1)))
            labels.append(label if rng.random() < .8 else int(rng.integers(3)))
    pred = InstanceData(
        masks=torch.from_numpy(np.array(masks, bool).reshape(-1, height, width)),
        labels=torch.tensor(labels, dtype=torch.int64),
        scores=torch.from_numpy(rng.random(len(masks)).astype(np.float32)),
        bboxes=torch.zeros(len(masks), 4))
    sample = DetDataSample(metainfo=dict(
        img_id=img_id, img_path=f'images/{img_id}.jpg', ori_shape=(height, width)))
    sample.pred_instances = pred
    return objects, sample


def random_data(count: int = 6) -> tuple[list, list]:
    """True objects of each image, samples."""
    rng = np.random.default_rng(1)
    images = [random_image(rng, img_id) for img_id in range(count)]
    return [objects for objects, _ in images], [sample for _, sample in images]


def encode(mask: np.ndarray) -> dict:
    rle = rle_tools.encode(np.asfortranarray(mask, np.uint8))
    return dict(size=rle['size'], counts=rle['counts'].decode())


def write_json(path: Path, truth: list, samples: list) -> str:
    """COCO instance annotations; crowds have uncompressed encodings as COCO's."""
    annotations = []
    for objects, sample in zip(truth, samples):
        for label, crowd, mask in objects:
            flat = mask.ravel(order='F')
            edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
            counts = np.diff([0, *([0] if flat[0] else []), *edges, flat.size]).tolist()
            annotations.append(dict(
                id=len(annotations) + 1, image_id=sample.img_id, category_id=CATEGORY_OF[label],
                iscrowd=int(crowd), area=int(mask.sum()), bbox=[0, 0, 1, 1],
                segmentation=dict(size=list(mask.shape), counts=counts) if crowd
                else encode(mask)))
    images = [dict(id=sample.img_id, height=sample.ori_shape[0], width=sample.ori_shape[1])
              for sample in samples]
    path.write_text(json.dumps(dict(
        images=images, categories=CATEGORIES, annotations=annotations)))
    return str(path)


def evaluate(metric, samples: list, meta: dict = META) -> dict:
    evaluator = Evaluator(metric)
    evaluator.dataset_meta = meta
    for start in range(0, len(samples), 2):
        evaluator.process(data_samples=samples[start:start + 2])
    return evaluator.evaluate(len(samples))


def boundary_of(mask: np.ndarray) -> np.ndarray:
    distance = max(1, round(0.02 * np.sqrt(mask.shape[0] ** 2 + mask.shape[1] ** 2)))
    padded = np.pad(mask.astype(np.uint8), 1)
    return mask & (cv2.erode(padded, np.ones((3, 3)), iterations=distance)[1:-1, 1:-1] == 0)


def direct_iou(true: np.ndarray, crowd: bool, predicted: np.ndarray, boundary: bool) -> float:
    if crowd:
        return (true & predicted).sum() / predicted.sum()
    iou = (true & predicted).sum() / (true | predicted).sum()
    if boundary:
        true, predicted = boundary_of(true), boundary_of(predicted)
        iou = min(iou, (true & predicted).sum() / (true | predicted).sum())
    return iou


def direct_ap(truth: list, samples: list, boundary: bool, thresholds: list) -> float:
    """AP by COCO's rules: greedy by score, crowds forgive, precision at 101 recalls."""
    precisions = []
    for label in range(3):
        detections, total = [], 0
        for objects, sample in zip(truth, samples):
            of_class = [(crowd, mask) for name, crowd, mask in objects if name == label]
            total += sum(not crowd for crowd, _ in of_class)
            pred = sample.pred_instances
            chosen = np.flatnonzero(pred.labels.numpy() == label)
            chosen = chosen[np.argsort(-pred.scores.numpy()[chosen], kind='stable')]
            iou = np.array([[direct_iou(mask, crowd, pred.masks[at].numpy(), boundary)
                             for crowd, mask in of_class] for at in chosen])
            detections.append((pred.scores.numpy()[chosen], [crowd for crowd, _ in of_class], iou))
        for threshold in thresholds:
            hits, scores = [], []
            for score, crowd, iou in detections:
                free = [not c for c in crowd]
                for row, value in zip(iou, score):
                    best = max((k for k in range(len(row)) if free[k] and row[k] >= threshold),
                               key=lambda k: (row[k], k), default=None)
                    if best is not None:
                        free[best] = False
                    elif any(c and v >= threshold for c, v in zip(crowd, row)):
                        continue
                    hits.append(best is not None)
                    scores.append(value)
                if not len(iou):
                    hits, scores = hits + [False] * len(score), scores + list(score)
            order = np.argsort(-np.array(scores), kind='stable')
            right = np.cumsum(np.array(hits)[order])
            precision = right / np.arange(1, len(right) + 1)
            recall = right / total
            precisions += [max(precision[recall >= level], default=0)
                           for level in np.linspace(0, 1, 101)]
    return 100 * np.mean(precisions)


def test_same_as_mmdets_metric_where_that_fits(tmp_path):
    """With categories in the order of the labels, mmdet's metric is right."""
    truth, samples = random_data()
    ann_file = write_json(tmp_path / 'instances.json', truth, samples)
    content = json.loads(Path(ann_file).read_text())
    content['categories'] = [dict(id=CATEGORY_OF[label], name=name)
                             for label, name in enumerate(META['thing_classes'])]
    (tmp_path / 'ordered.json').write_text(json.dumps(content))
    expected = evaluate(CocoMetric(str(tmp_path / 'ordered.json'), metric='segm'), samples)
    for name in ('ordered.json', 'instances.json'):
        results = evaluate(InstanceMetric(str(tmp_path / name)), samples)
        assert list(results) == [f'instance/{key}' for key in NAMES]
        for key, theirs in zip(NAMES, ('', '_50', '_75', '_s', '_m', '_l')):
            assert results[f'instance/{key}'] == pytest.approx(
                100 * expected[f'coco/segm_mAP{theirs}'], abs=0.0501)
    assert 20 < results['instance/AP'] < 90


@pytest.mark.parametrize('metric, boundary', [(InstanceMetric, False), (BoundaryAPMetric, True)])
def test_against_direct_evaluation(tmp_path, metric, boundary):
    truth, samples = random_data()
    results = evaluate(metric(write_json(tmp_path / 'a.json', truth, samples)), samples)
    prefix = metric.default_prefix
    for name, thresholds in (('AP', np.linspace(.5, .95, 10)), ('AP50', [.5]), ('AP75', [.75])):
        assert results[f'{prefix}/{name}'] == pytest.approx(
            direct_ap(truth, samples, boundary, thresholds), abs=1e-9)


def test_boundaries_lower_the_average(tmp_path):
    truth, samples = random_data()
    ann_file = write_json(tmp_path / 'a.json', truth, samples)
    mask = evaluate(InstanceMetric(ann_file), samples)
    boundary = evaluate(BoundaryAPMetric(ann_file), samples)
    wide = evaluate(BoundaryAPMetric(ann_file, boundary_width=0.9), samples)
    assert boundary['boundary/AP'] < mask['instance/AP']
    # a boundary as wide as the image is the mask itself
    assert list(wide.values()) == list(mask.values())


def test_hand_made_boundary_iou(tmp_path):
    # 60x60 shifted by 3, boundary of 3 pixels: frames of 684 pixels that share two strips of
    # 3 x 57; mask IoU 3420 / 3780 alone is a match up to 0.90
    true, predicted = np.zeros((2, 100, 100), bool)
    true[20:80, 20:80] = predicted[20:80, 23:83] = True
    sample = DetDataSample(metainfo=dict(img_id=0, ori_shape=(100, 100)))
    sample.pred_instances = InstanceData(masks=torch.from_numpy(predicted)[None],
                                         labels=torch.tensor([1]), scores=torch.tensor([.9]))
    ann_file = write_json(tmp_path / 'a.json', [[(1, False, true)]], [sample])
    mask = evaluate(InstanceMetric(ann_file), [sample])
    assert mask['instance/AP'] == pytest.approx(90)
    assert mask['instance/AP50'] == pytest.approx(100)
    inter = 2 * 3 * 57
    assert inter / (2 * 684 - inter) < 0.5
    boundary = evaluate(BoundaryAPMetric(ann_file), [sample])
    assert boundary['boundary/AP'] == boundary['boundary/AP50'] == 0
    assert boundary['boundary/APs'] == mask['instance/APl'] == -1
    perfect = sample.clone()
    perfect.pred_instances.masks = torch.from_numpy(true)[None]
    assert evaluate(BoundaryAPMetric(ann_file), [perfect])['boundary/AP'] == pytest.approx(100)


def panoptic_data(folder: Path, count: int = 4) -> tuple[list, list]:
    """Random data whose truth is a panoptic PNG, and the objects that are seen in it."""
    truth, samples = random_data(count)
    seen = []
    for objects, sample in zip(truth, samples):
        ids = np.full(sample.ori_shape, 1 << 20)
        for number, (_, _, mask) in enumerate(objects, 1):
            ids[mask] = number
        ids[:3] = 0
        infos = [dict(id=number, category=label, is_thing=not crowd, iscrowd=int(crowd))
                 for number, (label, crowd, _) in enumerate(objects, 1) if (ids == number).any()]
        infos.append(dict(id=1 << 20, category=3, is_thing=False, iscrowd=0))
        write_panoptic_png(folder / f'{sample.img_id}.png', ids)
        sample.set_metainfo(dict(seg_map_path=str(folder / f'{sample.img_id}.png'),
                                 segments_info=infos))
        seen.append([(info['category'], bool(info['iscrowd']), ids == info['id'])
                     for info in infos[:-1]])
    return seen, samples


@pytest.mark.parametrize('metric', [InstanceMetric, BoundaryAPMetric])
def test_truth_from_panoptic_annotation(tmp_path, metric):
    seen, samples = panoptic_data(tmp_path)
    expected = evaluate(metric(write_json(tmp_path / 'a.json', seen, samples)), samples)
    assert evaluate(metric(), samples) == expected
    bare = samples[0].clone()
    bare.set_metainfo(dict(seg_map_path=None, segments_info=[]))
    assert evaluate(metric(), [bare, *samples]) == expected
    with pytest.raises(PanopticDataError, match='no image of the dataset has a ground truth'):
        evaluate(metric(), [bare])


def test_polygons_and_encoded_predictions(tmp_path):
    true = np.zeros((50, 60), bool)
    true[10:40, 20:30] = True
    sample = DetDataSample(metainfo=dict(img_id=3, ori_shape=true.shape))
    sample.pred_instances = InstanceData(
        masks=[rle_tools.encode(np.asfortranarray(true, np.uint8))], labels=torch.tensor([2]),
        scores=torch.tensor([.5]))
    ann_file = write_json(tmp_path / 'a.json', [[(2, False, true)]], [sample])
    content = json.loads(Path(ann_file).read_text())
    content['annotations'][0]['segmentation'] = [[20, 10, 30, 10, 30, 25, 20, 25],
                                                 [20, 25, 30, 25, 30, 40, 20, 40]]
    # the area is optional
    del content['annotations'][0]['area']
    Path(ann_file).write_text(json.dumps(content))
    for metric in (InstanceMetric, BoundaryAPMetric):
        results = evaluate(metric(ann_file), [sample])
        assert results[f'{metric.default_prefix}/APs'] == pytest.approx(100)


def test_nothing_predicted(tmp_path):
    truth, samples = random_data(2)
    for sample in samples:
        sample.pred_instances = sample.pred_instances[:0]
    ann_file = write_json(tmp_path / 'a.json', truth, samples)
    for metric in (InstanceMetric, BoundaryAPMetric):
        assert evaluate(metric(ann_file), samples)[f'{metric.default_prefix}/AP'] == 0


def test_nothing_annotated(tmp_path):
    _, samples = random_data(2)
    ann_file = write_json(tmp_path / 'a.json', [[], []], samples)
    for metric in (InstanceMetric, BoundaryAPMetric):
        assert set(evaluate(metric(ann_file), samples).values()) == {-1}


def test_all_classes_are_scored_without_thing_classes(tmp_path):
    truth, samples = random_data(2)
    ann_file = write_json(tmp_path / 'a.json', truth, samples)
    meta = dict(classes=META['thing_classes'])
    assert evaluate(InstanceMetric(ann_file), samples, meta) == evaluate(
        InstanceMetric(ann_file), samples)


def test_table(tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr('mmengine.logging.MMLogger.info',
                        lambda self, message: lines.append(message))
    truth, samples = random_data(1)
    truth[0] = [item for item in truth[0] if item[0] != 2]
    ann_file = write_json(tmp_path / 'a.json', truth, samples)
    results = evaluate(BoundaryAPMetric(ann_file), samples)
    head, *rows = [[cell.strip() for cell in line.strip('|').split('|')]
                   for line in lines[-1].splitlines() if line.startswith('|')]
    assert 'Boundary AP of 1 images' in lines[-1] and head == ['class', *NAMES]
    assert [row[0] for row in rows] == ['cat', 'dog', 'cup', 'mean']
    assert rows[2][1:] == ['-'] * 6
    assert rows[3][1] == f'{results["boundary/AP"]:.1f}'
    evaluate(BoundaryAPMetric(ann_file, classwise=False), samples)
    assert 'dog' not in lines[-1]


def spoil_image(content: dict) -> None:
    content['images'] = content['images'][1:]
    content['annotations'] = [a for a in content['annotations'] if a['image_id'] != 0]


def spoil_annotated_image(content: dict) -> None:
    content['annotations'][0]['image_id'] = 77


def spoil_category(content: dict) -> None:
    content['annotations'][0]['category_id'] = 77


def spoil_class(content: dict) -> None:
    content['categories'][0]['name'] = 'doggy'


def spoil_segmentation(content: dict) -> None:
    content['annotations'][0]['segmentation'] = []


def spoil_mask_size(content: dict) -> None:
    content['annotations'][0]['segmentation']['size'] = [7, 8]


def spoil_size(content: dict) -> None:
    for item in content['images']:
        item['width'] = 33
    content['annotations'] = []


def spoil_keys(content: dict) -> None:
    del content['categories']


@pytest.mark.parametrize('spoil, error, message', [
    (spoil_image, PanopticDataError, r'image 0 \(images/0.jpg\) is not among .* of .*a.json'),
    (spoil_annotated_image, ValueError, 'a.json: annotation 1 has image_id 77, which "images"'),
    (spoil_category, ValueError, 'a.json: annotation 1 has category_id 77, which "categories"'),
    (spoil_class, ValueError, "a.json has no category 'dog', .*'doggy'"),
    (spoil_segmentation, ValueError, 'a.json: annotation 1 of image 0 has no segmentation'),
    (spoil_mask_size, ValueError, r'annotation 1 has \(height, width\) \(7, 8\), its image'),
    (spoil_size, PanopticDataError, 'masks have 200x150 pixels, but the ground truth has 33x150'),
    (spoil_keys, ValueError, 'a.json has no "categories"'),
])
def test_bad_annotations(tmp_path, spoil, error, message):
    truth, samples = random_data(2)
    ann_file = write_json(tmp_path / 'a.json', truth, samples)
    content = json.loads(Path(ann_file).read_text())
    spoil(content)
    Path(ann_file).write_text(json.dumps(content))
    with pytest.raises(error, match=message):
        evaluate(InstanceMetric(ann_file), samples)


def test_bad_files(tmp_path):
    with pytest.raises(FileNotFoundError, match='none.json do not exist; correct ann_file'):
        InstanceMetric(str(tmp_path / 'none.json'))
    (tmp_path / 'half.json').write_text('{"images": [')
    with pytest.raises(ValueError, match='half.json is not valid JSON'):
        InstanceMetric(str(tmp_path / 'half.json'))


def test_bad_predictions(tmp_path):
    _, samples = panoptic_data(tmp_path, 2)
    samples[0].pred_instances.labels[0] = 3
    with pytest.raises(PanopticDataError, match=r'image 0 .* \[3\], which are no things'):
        evaluate(InstanceMetric(), samples)
    samples[0].pred_instances.labels[0] = 0
    samples[0].pred_instances.scores[1] = float('nan')
    with pytest.raises(PanopticDataError, match=r'image 0 .* 1 of \d+ .* have the score nan'):
        evaluate(InstanceMetric(), samples)
    del samples[0].pred_instances
    with pytest.raises(PanopticDataError, match='no pred_instances; set instance_on=True'):
        evaluate(InstanceMetric(), samples)
    with pytest.raises(PanopticDataError, match='has no seg_map_path in its metainfo'):
        evaluate(InstanceMetric(), random_data(1)[1])
    with pytest.raises(ValueError, match='boundary_width=0 must be'):
        BoundaryAPMetric(boundary_width=0)


def _evaluate_shard(rank: int, folder: Path) -> None:
    """One of two processes: every second image, padded as mmengine's sampler pads."""
    dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
    _, samples = panoptic_data(folder / f'gt{rank}', 5)
    evaluator = Evaluator(BoundaryAPMetric())
    evaluator.dataset_meta = META
    evaluator.process(data_samples=(samples + samples[:1])[rank::2])
    (folder / f'{rank}.json').write_text(json.dumps(evaluator.evaluate(len(samples))))
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_give_the_same(tmp_path, monkeypatch):
    monkeypatch.setitem(os.environ, 'OMP_NUM_THREADS', '1')
    mp.spawn(_evaluate_shard, args=(tmp_path, ), nprocs=2)
    expected = evaluate(BoundaryAPMetric(), panoptic_data(tmp_path / 'gt', 5)[1])
    for rank in range(2):
        assert json.loads((tmp_path / f'{rank}.json').read_text()) == expected
