"""Images and annotations of all eight orientations, and arrays as images."""
import json

import cv2
import numpy as np
import pytest
import torch
from mmdet.datasets import CocoDataset
from mmdet.datasets.transforms import LoadAnnotations
from mmdet.registry import TRANSFORMS
from PIL import Image
from pycocotools import mask as rle_tools

from mmpanseg.datasets import PanopticDataset, SemanticDataset
from mmpanseg.datasets.transforms import loading_images
from mmpanseg.datasets.transforms.loading_images import check_array
from mmpanseg.structures import write_panoptic_png
from mmpanseg.structures.exif_orientation import ORIENTATIONS, apply_orientation

# ids 1, 2, 3 as stored; colors tell them apart
COLORS = np.array([(0, 0, 0), (200, 40, 40), (40, 200, 40), (40, 40, 200)], np.uint8)
PACK = dict(type='mmpanseg.PackPanopticInputs')


def stored_ids(height, width):
    ids = np.full((height, width), 2, np.int32)
    ids[height // 2:] = 3
    ids[4:12, 6:22] = 1
    return ids


def write(root, orientation, height, width, upright=False):
    """Files of one image; the annotations belong to the stored pixels, or to the upright ones."""
    ids = stored_ids(height, width)
    exif = Image.Exif()
    exif[0x0112] = orientation
    (root / 'img').mkdir(exist_ok=True)
    Image.fromarray(COLORS[ids]).save(root / 'img/a.png', exif=exif)
    written = apply_orientation(ids, orientation) if upright else ids
    write_panoptic_png(root / 'seg/a.png', written)
    (root / 'labels').mkdir(exist_ok=True)
    cv2.imwrite(str(root / 'labels/a.png'), written - 1)
    height, width = written.shape
    image = dict(id=7, file_name='a.png', height=height, width=width)
    (root / 'panoptic.json').write_text(json.dumps(dict(
        images=[image], annotations=[dict(image_id=7, file_name='a.png', segments_info=[
            dict(id=i, category_id=i, iscrowd=0) for i in (1, 2, 3)])],
        categories=[dict(id=1, name='x', isthing=1), dict(id=2, name='y', isthing=0),
                    dict(id=3, name='z', isthing=0)])))
    objects = []
    for i in (1, 3):
        y, x = np.nonzero(written == i)
        box = [int(v) for v in (x.min(), y.min(), x.max() + 1, y.max() + 1)]
        encoded = rle_tools.encode(np.asfortranarray(written == i, dtype=np.uint8))
        x1, y1, x2, y2 = box
        objects.append(dict(
            id=i, image_id=7, category_id=i, iscrowd=0, area=int((written == i).sum()),
            bbox=[x1, y1, x2 - x1, y2 - y1],
            polygon=[[x1, y1, x2, y1, x2, y2, x1, y2]],
            rle=dict(size=encoded['size'], counts=encoded['counts'].decode())))
    for kind in ('polygon', 'rle'):
        (root / f'{kind}.json').write_text(json.dumps(dict(
            images=[image], categories=[dict(id=1, name='x'), dict(id=3, name='z')],
            annotations=[dict(a, segmentation=a[kind]) for a in objects])))


def build(root, kind, **loader):
    load = dict(type='LoadImageFromFile', **loader)
    common = dict(data_root=str(root), serialize_data=False)
    if kind == 'panoptic':
        return PanopticDataset(
            ann_file='panoptic.json', data_prefix=dict(img='img', seg='seg'),
            pipeline=[load, dict(type='mmpanseg.LoadPanopticMap'), PACK], **common)
    if kind == 'semantic':
        return SemanticDataset(
            data_prefix=dict(img='img', seg='labels'), metainfo=dict(classes=('x', 'y', 'z')),
            pipeline=[load, dict(type='mmpanseg.LoadSemanticMap'), PACK], **common)
    return CocoDataset(
        ann_file=f'{kind}.json', data_prefix=dict(img='img/'), metainfo=dict(classes=('x', 'z')),
        pipeline=[load, dict(type='LoadAnnotations', with_bbox=True, with_mask=True,
                             poly2mask=kind == 'rle'), PACK], **common)


def seen_ids(item):
    """Ids by the colors of the image."""
    pixels = item['inputs'].numpy().transpose(1, 2, 0)[..., ::-1].astype(int)
    return np.abs(pixels[:, :, None] - COLORS).sum(-1).argmin(-1)


def true_ids(item, kind):
    """Ids by the ground truth; 2 where instances say nothing."""
    truth = item['data_samples'].gt_segments
    if kind in ('panoptic', 'semantic'):
        return (truth.labels[truth.map.long()] + 1).numpy()
    masks = truth.drop_empty()
    dense = (masks.masks if masks.masks is not None
             else torch.stack([masks.map == k for k in range(len(masks.labels))])).numpy()
    ids = np.full(dense.shape[1:], 2)
    for mask, label in zip(dense, masks.labels.tolist()):
        ids[mask] = (1, 3)[label]
    return ids


KINDS = ('panoptic', 'semantic', 'polygon', 'rle')


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('size', [(32, 32), (32, 48)])
def test_annotations_turn_with_the_image(tmp_path, kind, size):
    for orientation in ORIENTATIONS:
        write(tmp_path, orientation, *size)
        item = build(tmp_path, kind)[0]
        expected = apply_orientation(stored_ids(*size), orientation)
        np.testing.assert_array_equal(seen_ids(item), expected)
        np.testing.assert_array_equal(true_ids(item, kind), expected)
        assert item['data_samples'].img_orientation == orientation
        # nothing is turned where the loader ignores the tag
        item = build(tmp_path, kind, color_type='color_ignore_orientation')[0]
        np.testing.assert_array_equal(seen_ids(item), stored_ids(*size))
        np.testing.assert_array_equal(true_ids(item, kind), stored_ids(*size))


@pytest.mark.parametrize('kind', KINDS)
def test_annotations_of_upright_pixels(tmp_path, kind):
    for orientation in ORIENTATIONS:
        write(tmp_path, orientation, 32, 32, upright=True)
        item = build(tmp_path, kind, upright_annotations=True)[0]
        np.testing.assert_array_equal(true_ids(item, kind), seen_ids(item))
    for orientation in (5, 6, 7, 8):
        # only the upright size fits
        write(tmp_path, orientation, 32, 48, upright=True)
        item = build(tmp_path, kind)[0]
        np.testing.assert_array_equal(true_ids(item, kind), seen_ids(item))
        np.testing.assert_array_equal(
            seen_ids(item), apply_orientation(stored_ids(32, 48), orientation))


def test_boxes_turn_with_the_image(tmp_path):
    write(tmp_path, 6, 32, 48)
    data = build(tmp_path, 'polygon')
    data.pipeline.transforms.pop()
    loaded = data[0]
    height, width = loaded['ori_shape']
    for box, polygons in zip(loaded['gt_bboxes'].tensor.tolist(), loaded['gt_masks'].masks):
        points = polygons[0].reshape(-1, 2)
        assert box == [*points.min(0), *points.max(0)]
    assert (loaded['gt_masks'].height, loaded['gt_masks'].width) == (height, width) == (48, 32)


@pytest.fixture
def said(monkeypatch):
    """What the loader logs."""
    texts = []
    monkeypatch.setattr(loading_images, 'print_log', lambda text, **_: texts.append(text))
    return texts


def test_said_once(tmp_path, said):
    write(tmp_path, 8, 32, 48)
    data = build(tmp_path, 'panoptic')
    data[0], data[0]
    assert len(said) == 1 and 'img/a.png' in said[0] and 'upright_annotations' in said[0]


@TRANSFORMS.register_module()
class PlainReader:
    """A loader of a user, which knows nothing of orientations."""

    def __call__(self, results):
        results['img'] = cv2.imread(results['img_path'])
        results['img_shape'] = results['ori_shape'] = results['img'].shape[:2]
        return results


def test_loaders_that_say_nothing(tmp_path):
    write(tmp_path, 3, 32, 48)
    data = PanopticDataset(
        ann_file='panoptic.json', data_root=str(tmp_path), data_prefix=dict(img='img', seg='seg'),
        serialize_data=False,
        pipeline=[dict(type='PlainReader'), dict(type='mmpanseg.LoadPanopticMap'), PACK])
    with pytest.raises(ValueError, match='a.png has EXIF orientation 3, and its loader'):
        data[0]
    write(tmp_path, 1, 32, 48)
    np.testing.assert_array_equal(true_ids(data[0], 'panoptic'), stored_ids(32, 48))


def test_annotations_that_were_not_turned(tmp_path):
    write(tmp_path, 3, 32, 32)
    data = build(tmp_path, 'polygon')
    data.pipeline.transforms[1] = LoadAnnotations(
        with_bbox=True, with_mask=True, poly2mask=False)
    with pytest.raises(ValueError, match='a.png has an EXIF orientation .* annotation was not'):
        data[0]


def test_backslashes_of_another_system(tmp_path):
    write(tmp_path, 1, 32, 48)
    for name in ('panoptic.json', 'polygon.json'):
        content = json.loads((tmp_path / name).read_text())
        content['images'][0]['file_name'] = 'sub\\a.png'
        content['annotations'][0]['file_name'] = 'sub\\a.png'
        (tmp_path / name).write_text(json.dumps(content))
    for folder in ('img', 'seg'):
        (tmp_path / folder / 'sub').mkdir()
        (tmp_path / folder / 'a.png').rename(tmp_path / folder / 'sub/a.png')
    for kind in ('panoptic', 'polygon'):
        item = build(tmp_path, kind)[0]
        np.testing.assert_array_equal(seen_ids(item), stored_ids(32, 48))
        assert item['data_samples'].img_path.endswith('sub/a.png')


def test_many_bits(tmp_path, said):
    write(tmp_path, 1, 32, 48)
    values = COLORS[stored_ids(32, 48)].astype(np.uint16) * 16
    cv2.imwrite(str(tmp_path / 'img/a.png'), values)
    data = build(tmp_path, 'panoptic')
    assert data[0]['inputs'].max() == 200 * 16 >> 8
    assert len(said) == 1 and '16-bit' in said[0] and "color_type='unchanged'" in said[0]
    inputs = build(tmp_path, 'panoptic', color_type='unchanged')[0]['inputs']
    assert inputs.dtype == torch.float32
    np.testing.assert_array_equal(inputs.numpy().transpose(1, 2, 0), values)
    cv2.imwrite(str(tmp_path / 'img/a.png'), values[..., 0])
    inputs = build(tmp_path, 'panoptic', color_type='unchanged')[0]['inputs']
    np.testing.assert_array_equal(inputs.numpy(), values[None, ..., 0])


BGR = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)


@pytest.mark.parametrize('image, color_type, expected', [
    (BGR, 'color', BGR),
    (BGR[..., 0], 'color', np.dstack([BGR[..., 0]] * 3)),
    (BGR[..., :1], 'color', np.dstack([BGR[..., 0]] * 3)),
    (np.dstack([BGR, BGR[..., 0]]), 'color', BGR),
    (BGR[..., 0], 'grayscale', BGR[..., 0]),
    (BGR[..., :1], 'grayscale', BGR[..., 0]),
    (BGR, 'grayscale', cv2.cvtColor(BGR, cv2.COLOR_BGR2GRAY)),
    (BGR.astype(np.uint16), 'unchanged', BGR.astype(np.uint16)),
    (BGR.astype(np.float32), 'unchanged', BGR.astype(np.float32))])
def test_arrays_as_files_are_read(image, color_type, expected):
    taken = check_array(image, color_type)
    assert taken.dtype == expected.dtype
    np.testing.assert_array_equal(taken, expected)
    loader = TRANSFORMS.build(dict(type='LoadImageFromNDArray', color_type=color_type))
    np.testing.assert_array_equal(loader(dict(img=image))['img'], expected)


@pytest.mark.parametrize('image, error, text', [
    (BGR / 255, TypeError, r'array of float64 is not taken.*\(255 \* image\)'),
    (BGR.astype(np.float32), TypeError, 'array of float32 is not taken'),
    (BGR.astype(np.int64), TypeError, 'array of int64 is not taken'),
    (BGR[..., 0] > 9, TypeError, 'array of bool is not taken'),
    (BGR.transpose(2, 0, 1), ValueError, r'shape \[3, 4, 6\].*image.transpose\(1, 2, 0\)'),
    (BGR[None], ValueError, r'shape \[1, 4, 6, 3\] is not taken'),
    (BGR[:0], ValueError, r'shape \[0, 6, 3\] is not taken'),
    ([1, 2], TypeError, 'of type list is not taken')])
def test_arrays_that_are_no_images(image, error, text):
    with pytest.raises(error, match=text):
        check_array(image)


def test_loaders_take_arrays_and_paths_in_any_order(tmp_path):
    """mmdet's inference_detector builds one loader by the first of its inputs."""
    path = str(tmp_path / 'a.png')
    cv2.imwrite(path, BGR)
    for kind in ('LoadImageFromFile', 'LoadImageFromNDArray'):
        loader = TRANSFORMS.build(dict(type=kind))
        for results in (dict(img=BGR), dict(img_path=path)):
            loaded = loader(dict(results))
            np.testing.assert_array_equal(loaded['img'], BGR)
            assert loaded['img_path'] == results.get('img_path')
            assert loaded['ori_shape'] == (4, 6)


def test_unknown_color_type():
    with pytest.raises(ValueError, match="color_type='colour' must be one of color, grayscale"):
        TRANSFORMS.build(dict(type='LoadImageFromFile', color_type='colour'))
