"""SemanticMetric, against the definition of its scores with boolean masks."""
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
from PIL import Image

from mmpanseg.evaluation import PanopticDataError, SemanticMetric, semantic_metric
from mmpanseg.structures.panoptic_png import write_panoptic_png

META = dict(classes=('cat', 'dog', 'sky', 'sea'), thing_classes=('cat', 'dog'),
            stuff_classes=('sky', 'sea'))


def make_sample(pred: np.ndarray, **metainfo) -> DetDataSample:
    """A model's output, as the test loop gives it to an evaluator."""
    sample = DetDataSample(metainfo=dict(img_path='images/0.jpg', **metainfo))
    sample.pred_sem_seg = PixelData(sem_seg=torch.from_numpy(pred)[None])
    return sample


def write_labels(path: Path, labels: np.ndarray, dtype: type = np.uint8) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(labels, dtype)).save(path)
    return str(path)


def random_samples(folder: Path, count: int = 7) -> tuple[list, list]:
    """Samples with label maps that lack class 3, and their (truth, prediction)."""
    rng = np.random.default_rng(0)
    samples, maps = [], []
    for img_id in range(count):
        size = tuple(rng.integers(4, 30, 2))
        truth = rng.choice([0, 1, 2, 255], size, p=[.4, .3, .2, .1])
        pred = np.where((rng.random(size) < .6) & (truth < 4), truth, rng.integers(0, 4, size))
        maps.append((truth, pred))
        samples.append(make_sample(
            pred, img_id=img_id, seg_map_path=write_labels(folder / f'{img_id}.png', truth)))
    return samples, maps


def definition(maps: list) -> dict:
    truth, pred = (np.concatenate([pair[side].ravel() for pair in maps]) for side in (0, 1))
    truth, pred = truth[truth != 255], pred[truth != 255]
    classes = np.unique(truth)
    iou = [((truth == c) & (pred == c)).sum() / ((truth == c) | (pred == c)).sum() for c in classes]
    accuracy = [(pred[truth == c] == c).mean() for c in classes]
    share = [(truth == c).mean() for c in classes]
    return {'semantic/mIoU': 100 * np.mean(iou), 'semantic/fwIoU': 100 * np.dot(share, iou),
            'semantic/mAcc': 100 * np.mean(accuracy), 'semantic/pAcc': 100 * (truth == pred).mean()}


def evaluate(samples: list, meta: dict = META, **kwargs) -> dict:
    evaluator = Evaluator(SemanticMetric(**kwargs))
    evaluator.dataset_meta = meta
    for start in range(0, len(samples), 2):
        evaluator.process(data_samples=samples[start:start + 2])
    return evaluator.evaluate(len(samples))


@pytest.mark.parametrize('chunk', [1 << 22, 13])
def test_against_definition(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(semantic_metric, 'CHUNK', chunk)
    samples, maps = random_samples(tmp_path)
    assert evaluate(samples) == pytest.approx(definition(maps), rel=1e-12)
    assert evaluate(samples, classwise=False) == pytest.approx(definition(maps), rel=1e-12)


def test_table(tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr('mmengine.logging.MMLogger.info',
                        lambda self, message: lines.append(message))
    # sky is predicted but occurs nowhere: it costs cat a pixel, and is no part of the mean
    path = write_labels(tmp_path / 'a.png', [[0, 0, 0, 0, 1, 255]])
    results = evaluate([make_sample(np.array([[0, 0, 0, 2, 1, 1]]), seg_map_path=path)])
    rows = [[cell.strip() for cell in line.strip('|').split('|')]
            for line in lines[-1].splitlines() if line.startswith('|')]
    assert rows == [
        ['class', 'IoU', 'accuracy', 'share of pixels'],
        ['cat', '75.0', '75.0', '80.0'],
        ['dog', '100.0', '100.0', '20.0'],
        ['sky', '-', '-', '0.0'],
        ['sea', '-', '-', '0.0'],
        ['mean (n=2)', '87.5', '87.5', ''],
        ['of all pixels', '80.0', '80.0', '']]
    assert results == {f'semantic/{name}': pytest.approx(value) for name, value in
                       dict(mIoU=87.5, fwIoU=80, mAcc=87.5, pAcc=80).items()}


def test_values_of_label_maps(tmp_path):
    """The same truth, coded in every way that data sets use."""
    truth = np.array([[0, 1, 2, 3, 255]])
    pred = np.array([[0, 1, 1, 3, 2]])

    def score(values: np.ndarray, name: str, meta: dict = {}, dtype: type = np.uint8, **kwargs):
        path = write_labels(tmp_path / f'{name}.png', values, dtype)
        return evaluate([make_sample(pred, seg_map_path=path)], {**META, **meta}, **kwargs)

    expected = score(truth, 'plain')
    assert expected == pytest.approx(definition([(truth, pred)]))
    assert score([[1, 2, 3, 4, 0]], 'zero', reduce_zero_label=True) == expected
    assert score([[0, 1, 2, 3, 65]], 'ignore', ignore_index=65) == expected
    assert score([[0, 1, 2, 3, 65]], 'meta', dict(ignore_index=65)) == expected
    ids = {7: 0, 3: 1, 1: 2, 0: 3, 9: 255}
    assert score([[7, 3, 1, 0, 9]], 'map', label_map=ids) == expected
    assert score([[7, 3, 1, 0, 9]], 'meta_map', dict(label_map=ids)) == expected
    assert score([[300, 1, 2, 3, 40000]], 'wide', dtype=np.uint16,
                 label_map={300: 0, 40000: 255}) == expected
    palette = Image.fromarray(truth.astype(np.uint8))
    palette.putpalette([5, 6, 7] * 256)
    palette.save(tmp_path / 'palette.png')
    assert evaluate([make_sample(pred, seg_map_path=str(tmp_path / 'palette.png'))]) == expected


def panoptic_sample(folder: Path, pred: np.ndarray) -> DetDataSample:
    """Two cats, a crowd of dogs, sky; id 0 is void."""
    write_panoptic_png(folder / 'pan.png', np.array([[70000, 5, 5, 0, 900, 900, 3]]))
    infos = [dict(id=5, category=0, iscrowd=0), dict(id=70000, category=0, iscrowd=0),
             dict(id=900, category=1, iscrowd=1), dict(id=3, category=2, iscrowd=0)]
    return make_sample(pred, seg_map_path=str(folder / 'pan.png'), segments_info=infos, img_id=0)


def test_panoptic_source(tmp_path):
    pred = np.array([[0, 0, 2, 1, 1, 2, 2]])
    results = evaluate([panoptic_sample(tmp_path, pred)], source='panoptic')
    assert results == pytest.approx(definition([(np.array([[0, 0, 0, 255, 1, 1, 2]]), pred)]))


def test_images_without_ground_truth(tmp_path):
    samples, maps = random_samples(tmp_path)
    bare = make_sample(np.zeros((4, 4), int), img_id=99, seg_map_path=None, segments_info=[])
    assert evaluate([bare, *samples]) == pytest.approx(definition(maps))
    for source in ('semantic', 'panoptic'):
        with pytest.raises(PanopticDataError, match='0 of 1 images have a ground truth'):
            evaluate([bare], source=source)
    void = write_labels(tmp_path / 'void.png', np.full((4, 4), 255))
    with pytest.raises(PanopticDataError, match='1 of 1 images .* none .* a labeled pixel'):
        evaluate([make_sample(np.zeros((4, 4), int), seg_map_path=void)])


def test_prediction_does_not_fit(tmp_path):
    path = write_labels(tmp_path / 'a.png', np.zeros((2, 3)))
    for source, sample in (
            ('semantic', make_sample(np.zeros((3, 3), int), img_id=4, seg_map_path=path)),
            ('panoptic', panoptic_sample(tmp_path, np.zeros((3, 3), int)))):
        with pytest.raises(PanopticDataError, match='pred_sem_seg has 3x3 pixels, but .*png has '):
            evaluate([sample], source=source)
    for label in (4, -1):
        with pytest.raises(PanopticDataError, match=f'labels {min(label, 0)} .* 4 classes'):
            evaluate([make_sample(np.array([[0, label, 0]]), seg_map_path=path)])
    with pytest.raises(PanopticDataError, match='no pred_sem_seg; set semantic_on=True'):
        evaluate([DetDataSample(metainfo=dict(img_id=0, seg_map_path=path))])


def test_bad_ground_truth(tmp_path):
    pred = np.zeros((1, 3), int)
    (tmp_path / 'empty.png').write_bytes(b'')
    Image.fromarray(np.zeros((1, 3, 3), np.uint8)).save(tmp_path / 'rgb.png')
    write_labels(tmp_path / 'labels.png', [[0, 4, 9]])
    for name, error, message in (
            ('none.png', FileNotFoundError, 'none.png does not exist'),
            ('empty.png', ValueError, 'empty.png is no readable image'),
            ('rgb.png', ValueError, 'rgb.png has 3 channels'),
            ('labels.png', PanopticDataError, r'labels.png has the value.* \[4, 9\].* 4 cl')):
        with pytest.raises(error, match=message):
            evaluate([make_sample(pred, seg_map_path=str(tmp_path / name))])
    with pytest.raises(PanopticDataError, match='has no seg_map_path .*PackPanopticInputs'):
        evaluate([make_sample(pred, img_id=0)])
    sample = panoptic_sample(tmp_path, np.zeros((1, 7), int))
    sample.set_metainfo(dict(segments_info=sample.segments_info[:3]))
    with pytest.raises(PanopticDataError, match=r'segment\(s\) \[3\] are in the map of .*pan.png'):
        evaluate([sample], source='panoptic')
    sample.set_metainfo(dict(segments_info=[dict(id=3, category=4, iscrowd=0)]))
    with pytest.raises(PanopticDataError, match='segment 3 of .* has label 4, but .* 4 classes'):
        evaluate([sample], source='panoptic')


def test_unknown_source():
    with pytest.raises(ValueError, match='source=\'instance\' must be'):
        SemanticMetric(source='instance')


def _evaluate_shard(rank: int, folder: Path) -> None:
    """One of two processes: every second image, padded as mmengine's sampler pads."""
    dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
    samples, _ = random_samples(folder / f'gt{rank}')
    padded = samples + samples[:1]
    evaluator = Evaluator(SemanticMetric())
    evaluator.dataset_meta = META
    evaluator.process(data_samples=padded[rank::2])
    (folder / f'{rank}.json').write_text(json.dumps(evaluator.evaluate(len(samples))))
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_give_the_same(tmp_path, monkeypatch):
    monkeypatch.setitem(os.environ, 'OMP_NUM_THREADS', '1')
    mp.spawn(_evaluate_shard, args=(tmp_path, ), nprocs=2)
    expected = evaluate(random_samples(tmp_path / 'gt')[0])
    for rank in range(2):
        assert json.loads((tmp_path / f'{rank}.json').read_text()) == expected
