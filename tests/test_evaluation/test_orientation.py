"""Scoring of predictions that lie upright against annotations that lie as stored."""
import json

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as rle_tools

from mmpanseg.evaluation import BoundaryAPMetric, InstanceMetric, PanopticMetric, SemanticMetric
from mmpanseg.structures import read_panoptic_png, write_panoptic_png
from mmpanseg.structures.exif_orientation import ORIENTATIONS, apply_orientation

META = dict(classes=('x', 'y', 'z'), thing_classes=('x', ), stuff_classes=('y', 'z'),
            label2cat={0: 1, 1: 2, 2: 3})


def stored_ids(height, width):
    ids = np.full((height, width), 2, np.int32)
    ids[height // 2:] = 3
    ids[4:12, 6:22] = 1
    return ids


def sample_of(folder, orientation, size, told):
    """A perfect prediction of a turned image, and the annotation files."""
    ids = stored_ids(*size)
    upright = apply_orientation(ids, orientation)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.zeros((*size, 3), np.uint8)).save(folder / 'a.jpg', exif=exif)
    write_panoptic_png(folder / 'seg.png', ids)
    cv2.imwrite(str(folder / 'labels.png'), ids - 1)
    rle = rle_tools.encode(np.asfortranarray(ids == 1, dtype=np.uint8))
    (folder / 'objects.json').write_text(json.dumps(dict(
        images=[dict(id=7, file_name='a.jpg', height=size[0], width=size[1])],
        categories=[dict(id=1, name='x')], annotations=[dict(
            id=1, image_id=7, category_id=1, iscrowd=0, area=int((ids == 1).sum()),
            segmentation=dict(size=rle['size'], counts=rle['counts'].decode()))])))
    coded = np.where(upright == 1, 1000, upright - 1)
    sample = dict(
        img_id=7, img_path=str(folder / 'a.jpg'), ori_shape=upright.shape,
        seg_map_path=str(folder / 'seg.png'), segments_info=[
            dict(id=i, category=i - 1, is_thing=i == 1, iscrowd=0) for i in (1, 2, 3)],
        pred_panoptic_seg=dict(sem_seg=torch.from_numpy(coded)[None]),
        pred_sem_seg=dict(sem_seg=torch.from_numpy(upright - 1)[None]),
        pred_instances=dict(masks=torch.from_numpy(upright == 1)[None], scores=torch.ones(1),
                            labels=torch.zeros(1, dtype=torch.long)))
    if told:
        sample.update(img_orientation=orientation, ann_orientation=orientation)
    return sample


def score(metric, sample):
    metric.dataset_meta = META
    metric.process(None, [sample])
    return metric.evaluate(1)


@pytest.mark.parametrize('told', [True, False])
@pytest.mark.parametrize('size', [(32, 32), (32, 48)])
@pytest.mark.parametrize('orientation', ORIENTATIONS)
def test_perfect_predictions(tmp_path, orientation, size, told):
    """Also where another packing than ours left the orientation out."""
    sample = sample_of(tmp_path, orientation, size, told)
    prefix = str(tmp_path / 'results')
    assert score(PanopticMetric(outfile_prefix=prefix), sample)['panoptic/PQ'] == 100
    assert score(SemanticMetric(source='panoptic'), sample)['semantic/mIoU'] == 100
    labels = dict(sample, seg_map_path=str(tmp_path / 'labels.png'))
    assert score(SemanticMetric(), labels)['semantic/mIoU'] == 100
    for metric in (InstanceMetric, BoundaryAPMetric):
        for ann_file in (None, str(tmp_path / 'objects.json')):
            scores = score(metric(ann_file=ann_file), sample)
            assert scores[f'{metric.default_prefix}/AP'] == pytest.approx(100)
    # result files lie as the annotation, for the official scoring
    (written, ) = json.loads((tmp_path / 'results.json').read_text())['annotations']
    ids = read_panoptic_png(tmp_path / 'results' / written['file_name'])
    categories = {s['id']: s['category_id'] for s in written['segments_info']}
    np.testing.assert_array_equal(np.vectorize(categories.get)(ids), stored_ids(*size))


def test_results_without_ground_truth(tmp_path):
    sample = dict(sample_of(tmp_path, 6, (32, 48), True), seg_map_path=None, segments_info=[])
    for ann_orientation, shape in ((6, (32, 48)), (1, (48, 32))):
        metric = PanopticMetric(outfile_prefix=str(tmp_path / f'r{ann_orientation}'),
                                format_only=True)
        score(metric, dict(sample, ann_orientation=ann_orientation))
        (path, ) = (tmp_path / f'r{ann_orientation}').iterdir()
        ids = read_panoptic_png(path)
        assert ids.shape == shape
        # the prediction is perfect: as stored where annotations lie as stored, else upright
        truth = stored_ids(32, 48) if ann_orientation == 6 else turn(stored_ids(32, 48), 6)
        assert len(np.unique(np.dstack([ids, truth]).reshape(-1, 2), axis=0)) == 3
