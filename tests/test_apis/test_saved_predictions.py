"""Predictions of PanopticInferencer on disk: scored like those of a test, with flat memory."""
import json
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmpanseg.apis import PanopticInferencer
from mmpanseg.engine import build_runner
from mmpanseg.evaluation import pq_compute
from mmpanseg.models.segmentors import MaskTransformer
from mmpanseg.structures.mask_logits import DenseMaskLogits
from mmpanseg.structures.panoptic_png import write_panoptic_png

BASE = Path(__file__).resolve().parents[2] / 'configs/_base_'
COLORS = np.array([(60, 60, 200), (220, 150, 90), (70, 160, 90)])  # BGR by label
# things first; the JSON has another order, other ids and one class more
META = dict(thing_classes=('ball',), stuff_classes=('sky', 'ground'),
            classes=('ball', 'sky', 'ground'), palette=[(1, 2, 3)] * 3)
CATEGORIES = [dict(id=30, name='sky', isthing=0), dict(id=4, name='ball', isthing=1),
              dict(id=12, name='ground', isthing=0), dict(id=5, name='tree', isthing=0)]
CATEGORY_OF = {0: 4, 1: 30, 2: 12}
NAMES = {101: 'a/1.png', 55: 'b/1.png', 207: 'b/1.jpg', 8: 'b/x y.PNG'}


def by_color(self, inputs, metainfos):
    """One query for each class, whose mask are the pixels of its color."""
    colors = torch.tensor(COLORS, dtype=torch.float32)[:, :, None, None]
    distance = (inputs[:, None] - colors).square().sum(2).sqrt()
    logits = torch.eye(3, 4).mul(9).expand(len(inputs), 3, 4)
    return logits, DenseMaskLogits([4 - distance[:, :, ::2, ::2] / 10])


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Config and COCO panoptic data; predictions are what the picture shows, a little shifted."""
    monkeypatch.setattr(MaskTransformer, 'predict_queries', by_color)
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for number, name in NAMES.items():
        labels = np.ones((64, 64), np.uint8)
        labels[rng.integers(25, 45):] = 2
        labels = cv2.circle(labels, tuple(int(v) for v in rng.integers(15, 50, 2)), 10, 0, -1)
        path = tmp_path / 'images' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), COLORS[np.roll(labels, 3, 1)].astype(np.uint8),
                    [cv2.IMWRITE_JPEG_QUALITY, 100])
        png = f'{number}.png'
        write_panoptic_png(tmp_path / 'gt' / png, labels.astype(int) + 7)
        images.append(dict(id=number, file_name=name, height=64, width=64))
        annotations.append(dict(image_id=number, file_name=png, segments_info=[
            dict(id=label + 7, category_id=CATEGORY_OF[label], iscrowd=0,
                 area=int((labels == label).sum()), bbox=[0, 0, 64, 64]) for label in range(3)]))
    (tmp_path / 'gt.json').write_text(json.dumps(
        dict(images=images, annotations=annotations, categories=CATEGORIES)))
    cfg = Config()
    for part in ('models/mask2former_r50.py', 'default_runtime.py'):
        cfg.merge_from_dict(Config.fromfile(BASE / part).to_dict())
    cfg.merge_from_dict({
        'model.num_things_classes': 1, 'model.num_stuff_classes': 2, 'model.backbone.depth': 18,
        'model.backbone.init_cfg': None, 'model.panoptic_head.in_channels': [64, 128, 256, 512],
        'model.panoptic_head.num_queries': 3})
    cfg.model.data_preprocessor = dict(type='DetDataPreprocessor', pad_size_divisor=32)
    cfg.test_dataloader = dict(
        batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(type='mmpanseg.PanopticDataset', metainfo=META, test_mode=True,
                     data_root=str(tmp_path), ann_file='gt.json',
                     data_prefix=dict(img='images', seg='gt'),
                     pipeline=[dict(type='LoadImageFromFile'),
                               dict(type='mmpanseg.PackPanopticInputs')]))
    cfg.test_cfg = dict(type='TestLoop')
    cfg.test_evaluator = dict(type='mmpanseg.PanopticMetric')
    cfg.work_dir = str(tmp_path / 'run')
    return SimpleNamespace(folder=tmp_path, cfg=cfg)


def inferencer(data, **changes):
    cfg = data.cfg.copy()
    cfg.merge_from_dict(changes)
    return PanopticInferencer(cfg, device='cpu', show_progress=False)


def expected(data):
    """Scores of the test loop."""
    results = build_runner(data.cfg.copy(), 'none').test()
    assert 0.3 < results['panoptic/PQ'] / 100 < 0.95
    return results


def assert_equal(of_files, results):
    for suffix, group in (('', 'All'), ('_th', 'Things'), ('_st', 'Stuff')):
        for key in ('pq', 'sq', 'rq'):
            assert 100 * of_files[group][key] == results[f'panoptic/{key.upper()}{suffix}']


def test_saved_predictions_have_the_score_of_a_test(data):
    results = expected(data)
    out = data.folder / 'out'
    inferencer(data)(str(data.folder / 'images/**/*.*'), out_dir=out)
    content = json.loads((out / 'preds/panoptic.json').read_text())
    assert {a['image_id'] for a in content['annotations']} == set(NAMES)
    assert_equal(pq_compute(data.folder / 'gt.json', out / 'preds/panoptic.json',
                            data.folder / 'gt'), results)
    assert sorted(str(path.relative_to(out / 'vis')) for path in (out / 'vis').rglob('*.*')) == (
        sorted(NAMES.values()))


def test_photos_without_a_data_set_are_scored_by_name(data):
    """Neither the annotation file nor ids are known where the predictions are made."""
    results = expected(data)
    out = data.folder / 'out'
    bare = inferencer(data, **{'test_dataloader.dataset.ann_file': 'absent.json'})
    for path in sorted((data.folder / 'images').rglob('*.*')):
        bare(str(path), out_dir=out, no_save_vis=True)
    content = json.loads((out / 'preds/panoptic.json').read_text())
    assert {a['image_id'] for a in content['annotations']} == {0, 1, 2, 3}
    # the names of the ground truth's files tell b/1.jpg from b/1.png
    gt = json.loads((data.folder / 'gt.json').read_text())
    assert gt['images'][2]['file_name'] == 'b/1.jpg'
    assert_equal(pq_compute(data.folder / 'gt.json', out / 'preds/panoptic.json',
                            data.folder / 'gt'), results)


def test_one_image_that_cannot_be_read_does_not_lose_the_others(data):
    (data.folder / 'images/z.png').write_text('no image')
    with pytest.raises(ValueError, match='z.png cannot be read'):
        inferencer(data)(str(data.folder / 'images/**/*.*'), out_dir=data.folder / 'out')
    content = json.loads((data.folder / 'out/preds/panoptic.json').read_text())
    assert {a['image_id'] for a in content['annotations']} == set(NAMES)


def test_stream_gives_what_a_call_gives(data):
    images = sorted(str(path) for path in (data.folder / 'images').rglob('*.*'))
    model = inferencer(data)
    whole = model(images, return_vis=True)
    parts = list(model.stream(images, batch_size=3, return_vis=True, out_dir=data.folder / 'out'))
    assert len(parts) == len(images) and not model.show_progress
    for prediction, picture, part in zip(whole['predictions'], whole['visualization'], parts):
        assert part['prediction']['segments_info'] == prediction['segments_info']
        np.testing.assert_array_equal(part['prediction']['panoptic_seg'],
                                      prediction['panoptic_seg'])
        np.testing.assert_array_equal(part['visualization'], picture)
    content = json.loads((data.folder / 'out/preds/panoptic.json').read_text())
    assert len(content['annotations']) == len(images)
    assert next(model.stream(images))['visualization'] is None


def test_samples_are_saved_too(data):
    model = inferencer(data)
    sample, = model(str(data.folder / 'images/a/1.png'), return_datasamples=True,
                    out_dir=data.folder / 'out')['predictions']
    assert sample.pred_panoptic_seg.sem_seg.shape == (1, 64, 64)
    content = json.loads((data.folder / 'out/preds/panoptic.json').read_text())
    assert content['annotations'][0]['image_id'] == 101
    # mmdet's entry for one sample
    model.pred2dict(sample, str(data.folder / 'again'))
    assert json.loads((data.folder / 'again/preds/panoptic.json').read_text()) == content


def peak(run) -> int:
    tracemalloc.start()
    run()
    size = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return size


@pytest.mark.slow
@pytest.mark.parametrize('way', ['saved', 'nothing kept', 'stream'])
def test_memory_does_not_grow_with_the_number_of_images(data, way):
    model = inferencer(data)
    path = data.folder / 'images/a/1.png'
    large = cv2.resize(cv2.imread(str(path)), (256, 256), interpolation=cv2.INTER_NEAREST)
    images = [str(data.folder / f'large/{number}.png') for number in range(24)]
    for image in images:
        Path(image).parent.mkdir(exist_ok=True)
        cv2.imwrite(image, large)

    def run(count):
        part = images[:count]
        if way == 'saved':
            kept = model(part, out_dir=data.folder / f'out{count}')['predictions']
            assert len(kept) == count
        elif way == 'nothing kept':
            assert model(part, return_predictions=False) == dict(predictions=[], visualization=[])
        else:
            assert sum(1 for _ in model.stream(part)) == count

    run(2)
    growth = peak(lambda: run(24)) - peak(lambda: run(6))
    # a map has 256 KiB, a picture more
    assert growth < 18 * 20 * 1024
