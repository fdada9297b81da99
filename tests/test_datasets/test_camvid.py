"""The CamVid converter on hand-made label maps."""
import json

import cv2
import numpy as np
import pytest

from mmpanseg.datasets import CamVidInstanceDataset, CamVidSemanticDataset
from mmpanseg.datasets.converters.camvid import convert_camvid, split_segments
from mmpanseg.structures.panoptic_png import read_panoptic_png


def test_things_split_by_8_connectivity_and_small_ones_become_void():
    labels = np.full((40, 60), 3, np.uint8)  # road
    labels[2:10, 2:10] = 8  # a car, and another that touches at a corner: one segment
    labels[10:16, 10:16] = 8
    labels[20:28, 40:48] = 8  # a car by itself
    labels[30:33, 5:15] = 9  # 30 pixels of pedestrian: void
    labels[36:38] = 11  # unlabeled
    ids, segments = split_segments(labels)
    found = [(segment.category, int((ids == k).sum())) for k, segment in segments.items()]
    assert found == [(4, 40 * 60 - 64 - 36 - 64 - 30 - 120), (9, 100), (9, 64)]
    assert ids[5, 5] == ids[12, 12] != ids[24, 44]
    assert not ids[31, 10] and not ids[36, 0]
    assert [segment.is_thing for segment in segments.values()] == [False, True, True]


@pytest.fixture
def raw(tmp_path):
    for folder in ('train', 'trainannot'):
        (tmp_path / folder).mkdir()
    cv2.imwrite(str(tmp_path / 'train/a.jpg'), np.zeros((8, 12, 3), np.uint8))
    cv2.imwrite(str(tmp_path / 'trainannot/a.png'), np.full((8, 12), 5, np.uint8))
    return tmp_path


def test_writes_coco_panoptic_format(raw, tmp_path):
    assert convert_camvid(raw, tmp_path / 'out', 'train') == 1
    content = json.loads((tmp_path / 'out/annotations/panoptic_train.json').read_text())
    assert content['annotations'][0]['segments_info'] == [
        dict(id=1, category_id=6, iscrowd=0, area=96, bbox=[0, 0, 12, 8])]
    assert (read_panoptic_png(tmp_path / 'out/panoptic_train/a.png') == 1).all()
    assert (tmp_path / 'out/train/a.jpg').is_file()


@pytest.mark.parametrize('damage, text', [
    (lambda p: p.unlink(), 'does not exist'),
    (lambda p: p.write_bytes(b''), 'no readable image'),
    (lambda p: cv2.imwrite(str(p), np.zeros((8, 9), np.uint8)), '9x8'),
    (lambda p: cv2.imwrite(str(p), np.full((8, 12), 40, np.uint8)), 'label 40'),
    (lambda p: cv2.imwrite(str(p), np.zeros((8, 12, 3), np.uint8)), 'channel')])
def test_bad_files_are_named(raw, tmp_path, damage, text):
    damage(raw / 'trainannot/a.png')
    with pytest.raises(ValueError, match=text) as error:
        convert_camvid(raw, tmp_path / 'out', 'train')
    assert 'a.png' in str(error.value)


def test_instances_and_label_maps(raw, tmp_path):
    labels = np.full((8, 12), 3, np.uint8)
    labels[1:7, 2:10] = 8
    labels[7] = 11
    cv2.imwrite(str(raw / 'trainannot/a.png'), labels)
    convert_camvid(raw, tmp_path / 'out', 'train')

    def instances(**loading):
        return CamVidInstanceDataset(
            data_root=str(tmp_path / 'out'), ann_file='annotations/instances_train.json',
            data_prefix=dict(img='train/'), pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='LoadAnnotations', with_bbox=True, with_mask=True, **loading),
                dict(type='mmpanseg.PackPanopticInputs')])

    found = instances()[0]['data_samples'].gt_segments
    assert [instances().metainfo['classes'][label] for label in found.labels] == ['Car']
    assert found.dense()[0].nonzero().aminmax(dim=0).min.tolist() == [1, 2]
    assert found.areas().tolist() == [48]
    with pytest.raises(ValueError, match='a.jpg.*run-length encoded.*poly2mask=True'):
        instances(poly2mask=False)[0]
    semantic = CamVidSemanticDataset(
        data_root=str(tmp_path / 'out'), data_prefix=dict(img='train/', seg='semantic_train/'),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='mmpanseg.LoadSemanticMap')])
    assert semantic.metainfo['classes'][3] == 'Road'
    sample = semantic[0]
    assert sample['gt_segment_labels'].tolist() == [3, 8]
    assert (sample['gt_seg_map'][7] == -1).all() and sample['gt_seg_map'][2, 3] == 1


def test_missing_folder_is_named(raw, tmp_path):
    with pytest.raises(ValueError, match='val: no such folder'):
        convert_camvid(raw, tmp_path / 'out', 'val')
