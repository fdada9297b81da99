"""SemanticDataset: what it reads, and what it says about bad input."""
import re

import cv2
import numpy as np
import pytest
import torch

from mmpanseg.datasets import SemanticDataset, semantic

PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='mmpanseg.LoadSemanticMap'),
    dict(type='mmpanseg.PackPanopticInputs')]
CLASSES = dict(classes=('road', 'sky', 'car'))
LABELS = np.array([[0, 0, 255, 2], [1, 1, 2, 2]], np.uint8)


@pytest.fixture
def root(tmp_path):
    for folder in ('img/town', 'seg/town'):
        (tmp_path / folder).mkdir(parents=True)
    for name in ('b', 'town/a_x'):
        cv2.imwrite(str(tmp_path / f'img/{name}.jpg'), np.full((2, 4, 3), 90, np.uint8))
        cv2.imwrite(str(tmp_path / f'seg/{name}_l.png'), LABELS)
    return tmp_path


def _build(root, **kwargs):
    return SemanticDataset(**dict(
        data_root=str(root), data_prefix=dict(img='img', seg='seg'), seg_map_suffix='_l.png',
        metainfo=CLASSES, pipeline=PIPELINE, serialize_data=False) | kwargs)


def test_data_info(root):
    data = _build(root)
    assert [data.get_data_info(i)['img_id'] for i in range(2)] == ['b', 'town/a_x']
    info = data.get_data_info(1)
    assert info['img_path'] == str(root / 'img/town/a_x.jpg')
    assert info['seg_map_path'] == str(root / 'seg/town/a_x_l.png')
    assert (info['num_classes'], info['label_map'], info['ignore_index']) == (3, None, 255)
    assert data.metainfo['ignore_index'] == 255


def test_sample(root):
    sample = _build(root)[1]['data_samples']
    assert sample.gt_segments.labels.tolist() == [0, 1, 2]
    expected = torch.from_numpy(np.where(LABELS == 255, -1, LABELS.astype(int)))
    assert torch.equal(sample.gt_segments.map.long(), expected)
    assert sample.metainfo['img_id'] == 'town/a_x'
    assert sample.metainfo['seg_map_path'].endswith('a_x_l.png')


def test_classes_of_a_sample(root):
    meta = CLASSES | dict(label_map={1: 9}, ignore_index=9)
    cv2.imwrite(str(root / 'seg/b_l.png'), LABELS % 255)
    assert _build(root, metainfo=meta).get_cat_ids(0) == [0, 2]


def test_without_label_maps(root):
    data = _build(root, data_prefix=dict(img='img'), test_mode=True)
    assert data.get_data_info(0)['seg_map_path'] is None and data.get_cat_ids(0) == []
    segments = data[0]['data_samples'].gt_segments
    assert len(segments) == 0 and (segments.map == -1).all()


@pytest.mark.parametrize('changes, text', [
    (dict(metainfo=None), 'SemanticDataset needs metainfo=dict'),
    (dict(data_prefix=dict(img='pictures', seg='seg')), 'pictures: no such folder'),
    (dict(data_prefix=dict(img='img', seg='maps')), 'maps: no such folder'),
    (dict(img_suffix='.png'), r'img has no image \*\.png'),
    (dict(seg_map_suffix='.png'), r'seg/b.png does not exist: 2 of 2 images')])
def test_errors(root, changes, text):
    with pytest.raises(ValueError, match=text):
        _build(root, **changes)


def test_image_without_label_map(root):
    (root / 'seg/town/a_x_l.png').unlink()
    with pytest.raises(ValueError, match='seg/town/a_x_l.png does not exist: 1 of 2 images'):
        _build(root)


@pytest.mark.parametrize('name', ['img/b.jpg', 'seg/b_l.png'])
def test_damaged_files_are_named(root, name):
    (root / name).write_bytes(b'no image')
    with pytest.raises(Exception, match=re.escape(str(root / name))):
        _build(root)[0]


@pytest.fixture
def warnings_of_files(monkeypatch):
    texts = []
    monkeypatch.setattr(semantic, 'print_log', lambda text, **_: texts.append(text))
    return texts


def test_endings_of_every_kind(tmp_path, warnings_of_files):
    names = ['a.jpg', 'b.JPG', 'c.png', 'd.JPEG', 'sub/e.PNG', 'f.tif', 'g.webp']
    for folder in ('img/sub', 'seg/sub'):
        (tmp_path / folder).mkdir(parents=True)
    for number, name in enumerate(names):
        path = tmp_path / 'img' / name
        pixels = np.full((2, 4, 3), 30 * number, np.uint8)
        path.write_bytes(cv2.imencode(path.suffix.lower(), pixels)[1].tobytes())
        path = tmp_path / 'seg' / name
        path = path.with_suffix('.PNG' if number % 2 else '.png')
        path.write_bytes(cv2.imencode('.png', np.full((2, 4), number % 3, np.uint8))[1].tobytes())
    (tmp_path / 'img/notes.txt').write_text('no image')
    data = _build(tmp_path, seg_map_suffix='.png')
    found = [data[k] for k in range(len(data))]
    assert [item['data_samples'].img_path for item in found] == [
        str(tmp_path / 'img' / name) for name in sorted(names, key=lambda n: n.split('.')[0])]
    for item in found:
        number = [name.rsplit('.', 1)[0] for name in names].index(item['data_samples'].img_id)
        assert abs(item['inputs'].float().mean() - 30 * number) < 3
        assert item['data_samples'].gt_segments.labels.tolist() == [number % 3]
    assert warnings_of_files == []

    # an ending that is asked for leaves the others out, and says so
    data = _build(tmp_path, seg_map_suffix='.png', img_suffix='.jpg')
    assert [data.get_data_info(k)['img_id'] for k in range(len(data))] == ['a', 'b']
    images, maps = warnings_of_files
    assert images.startswith(f'{tmp_path}/img: 5 images do not end in .jpg and are left out (c.png')
    assert maps.startswith(f'{tmp_path}/seg: 5 label maps belong to no image')
    with pytest.raises(ValueError, match=r'img has no image \*\.bmp \(only a.jpg, b.JPG, c.png'):
        _build(tmp_path, img_suffix='.bmp')


def test_images_of_one_name(root):
    cv2.imwrite(str(root / 'img/b.png'), np.zeros((2, 4, 3), np.uint8))
    with pytest.raises(ValueError, match='img has b.jpg and b.png, which have one name'):
        _build(root)


def test_images_and_maps_side_by_side(tmp_path):
    for name in 'ab':
        cv2.imwrite(str(tmp_path / f'{name}.jpg'), np.full((2, 4, 3), 90, np.uint8))
        cv2.imwrite(str(tmp_path / f'{name}.png'), LABELS)
    for options in ({}, dict(img_suffix='.jpg')):
        data = _build(tmp_path, data_prefix=dict(img='', seg=''), seg_map_suffix='.png', **options)
        assert [(info['img_id'], info['img_path'], info['seg_map_path']) for info in map(
            data.get_data_info, range(len(data)))] == [
                (name, str(tmp_path / f'{name}.jpg'), str(tmp_path / f'{name}.png'))
                for name in 'ab']


def _binary(root, meta, **kwargs):
    masks = np.array([[0, 0, 255, 255], [0, 0, 0, 0]], np.uint8)
    for name in ('b', 'town/a_x'):
        cv2.imwrite(str(root / f'seg/{name}_l.png'), masks)
    return _build(root, metainfo=dict(classes=('ground', 'road')) | meta, **kwargs)


def test_binary_masks(root):
    with pytest.raises(ValueError, match=r'values 0 and 255 only \(2 looked at\), and 255 is '
                                         r'ignored.*label_map=\{0: 0, 255: 1\}'):
        _binary(root, {})
    with pytest.raises(ValueError, match='values 0 and 255 only'):
        _binary(root, dict(classes=('road', )))
    truth = _binary(root, dict(label_map={0: 0, 255: 1}))[0]['data_samples'].gt_segments
    assert truth.labels.tolist() == [0, 1]
    assert truth.map.tolist() == [[0, 0, 1, 1], [0, 0, 0, 0]]
    truth = _binary(root, dict(label_map={255: 1}))[0]['data_samples'].gt_segments
    assert truth.map.tolist() == [[0, 0, 1, 1], [0, 0, 0, 0]]
    # void by its name
    truth = _binary(root, dict(label_map={0: 0, 255: 255}))[0]['data_samples'].gt_segments
    assert truth.map.tolist() == [[0, 0, -1, -1], [0, 0, 0, 0]]
    truth = _binary(root, dict(classes=('road', ), label_map={0: 255, 255: 0}))
    assert truth[0]['data_samples'].gt_segments.map.tolist() == [[-1, -1, 0, 0], [-1] * 4]
    # three classes, or another map that shows them
    assert len(_binary(root, dict(classes=('a', 'b', 'c')))) == 2
    own = [PIPELINE[0], dict(type='mmpanseg.LoadSemanticMap', label_map={255: 1}), PIPELINE[2]]
    assert len(_binary(root, {}, pipeline=own)) == 2
