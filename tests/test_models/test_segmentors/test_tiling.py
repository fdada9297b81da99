"""Tiles put together against the whole image, with exact network outputs."""
import copy

import numpy as np
import pytest
import torch
from mmdet.structures.mask import mask2bbox
from mmengine.structures import InstanceData, PixelData
from pycocotools import mask as rle_tools

from mmpanseg.models.inference.instance_stitching import InstanceStitcher, resize_nearest
from mmpanseg.models.inference.panoptic_stitching import PanopticStitcher
from mmpanseg.models.inference.tile_grid import spans, tile_grid

from ..systems import NORMALIZE, SYSTEMS, batch, build

ALL = dict(instance_on=True, semantic_on=True)


@pytest.fixture
def scene(colors):
    """60 x 90: two stuff classes, a U across all tiles, things at borders and corners, void."""
    image = np.zeros((60, 90, 3), dtype=np.uint8)
    image[:30] = colors.color(2)
    image[30:] = colors.color(3)
    image[10:14, 5:85] = colors.color(0, 1)  # a U: one thing that most tiles see a part of
    image[10:55, 5:9] = colors.color(0, 1)
    image[10:55, 81:85] = colors.color(0, 1)
    image[25:40, 40:52] = colors.color(1, 2)  # where tiles meet
    image[16:24, 20:36] = colors.color(0, 3)
    image[16:24, 36:60] = colors.color(0, 4)  # of the same class, side by side
    image[50:60, 60:78] = colors.color(1, 5)
    image[58:60, 0:4] = colors.color(0, 6)
    image[42:50, 12:30] = 0
    return image


def assert_same_panoptic(found, expected):
    """Same pixels and scores, up to the numbers of instances."""
    a, b = found.sem_seg[0].numpy(), expected.sem_seg[0].numpy()
    assert a.dtype == b.dtype == np.int32 and a.shape == b.shape
    infos = {info['id']: info for info in expected.segments_info}
    for info in found.segments_info:
        values = np.unique(b[a == info['id']])
        assert len(values) == 1
        twin = infos.pop(int(values[0]))
        np.testing.assert_array_equal(a == info['id'], b == twin['id'])
        assert (info['label'], info['isthing']) == (twin['label'], twin['isthing'])
        assert info['score'] == pytest.approx(twin['score'], abs=1e-6)
    assert not infos
    assert len(found.segments_info) == len({info['id'] for info in found.segments_info})


def assert_same_instances(found, expected):
    def by_mask(instances):
        return {mask.numpy().tobytes(): (int(label), float(score)) for mask, label, score in
                zip(instances.masks, instances.labels, instances.scores) if mask.any()}

    found_by, expected_by = by_mask(found), by_mask(expected)
    assert found_by.keys() == expected_by.keys()
    for key, (label, score) in found_by.items():
        assert label == expected_by[key][0]
        assert score == pytest.approx(expected_by[key][1], abs=1e-5)
    torch.testing.assert_close(found.bboxes, mask2bbox(found.masks))


@pytest.mark.parametrize('tile, overlap', [
    ((32, 32), 8), ((40, 40), 20), ((24, 50), 12), ((60, 30), 6), ((33, 47), 15), ((59, 89), 1),
    ((16, 16), 12)])
def test_stitched_equals_whole(colors, scene, tile, overlap):
    whole = colors.predict(colors.model(**ALL, max_per_image=9), scene)
    assert len(whole.pred_panoptic_seg.segments_info) == 8
    model = colors.model(**ALL, mode='tile', tile=tile, overlap=overlap)
    stitched = colors.predict(model, scene)
    tiles = tile_grid((60, 90), tile, overlap)
    assert len(model.panoptic_head.calls) == len(tiles) > 1
    assert_same_panoptic(stitched.pred_panoptic_seg, whole.pred_panoptic_seg)
    labeled = torch.from_numpy(scene.any(-1))  # elsewhere no class is better than another
    assert torch.equal(stitched.pred_sem_seg.sem_seg[0][labeled],
                       whole.pred_sem_seg.sem_seg[0][labeled])
    real = whole.pred_instances[whole.pred_instances.scores > 0.5]
    kept = stitched.pred_instances[stitched.pred_instances.scores > 0.5]
    assert len(real.scores) == 6
    assert_same_instances(kept, real)


@pytest.mark.parametrize('tile', [(64, 96), (60, 90), (1000, 90)])
def test_one_tile_is_the_whole_image(colors, scene, tile):
    whole = colors.predict(colors.model(**ALL), scene)
    model = colors.model(**ALL, mode='tile', tile=tile, overlap=30)
    stitched = colors.predict(model, scene)
    assert len(model.panoptic_head.calls) == 1
    assert_same_panoptic(stitched.pred_panoptic_seg, whole.pred_panoptic_seg)
    assert torch.equal(stitched.pred_sem_seg.sem_seg, whole.pred_sem_seg.sem_seg)
    assert_same_instances(stitched.pred_instances, whole.pred_instances)


def test_tiles_are_padded_as_whole_images_are(colors, scene):
    model = colors.model(mode='tile', tile=(30, 50), overlap=10)
    colors.predict(model, scene)
    assert {call[2:] for call in model.panoptic_head.calls} == {(32, 52)}


def test_results_at_the_original_size(colors, scene):
    """Resizing by a whole number repeats pixels, which the nearest pixel does exactly."""
    model = colors.model(**ALL, mode='tile', tile=(32, 32), overlap=8)
    small, large = colors.predict(model, scene), colors.predict(model, scene, (120, 270))
    for name in ('pred_panoptic_seg', 'pred_sem_seg'):
        expected = small.get(name).sem_seg.repeat_interleave(2, 1).repeat_interleave(3, 2)
        assert torch.equal(large.get(name).sem_seg, expected)
    assert large.pred_panoptic_seg.segments_info == small.pred_panoptic_seg.segments_info
    expected = small.pred_instances.masks.repeat_interleave(2, 1).repeat_interleave(3, 2)
    assert torch.equal(large.pred_instances.masks, expected)
    assert torch.equal(large.pred_instances.bboxes, mask2bbox(expected))


def test_run_lengths(colors, scene):
    options = dict(**ALL, mode='tile', tile=(32, 32), overlap=8)
    dense = colors.predict(colors.model(**options), scene).pred_instances
    rle = colors.predict(colors.model(**options, mask_format='rle'), scene).pred_instances
    decoded = np.stack([rle_tools.decode(mask) for mask in rle.masks]).astype(bool)
    np.testing.assert_array_equal(decoded, dense.masks.numpy())
    assert torch.equal(rle.bboxes, dense.bboxes)


def test_only_the_best_instances(colors, scene):
    model = colors.model(**ALL, mode='tile', tile=(32, 32), overlap=8, max_per_image=4)
    scores = colors.predict(model, scene).pred_instances.scores
    assert len(scores) == 4 and (scores > 0.5).all()
    assert (scores[1:] <= scores[:-1]).all()


def test_image_of_void(colors):
    empty = np.zeros((40, 50, 3), dtype=np.uint8)
    result = colors.predict(colors.model(**ALL, mode='tile', tile=(16, 16), overlap=4), empty)
    assert (result.pred_panoptic_seg.sem_seg == 4).all()
    assert result.pred_panoptic_seg.segments_info == []


def panoptic(values, *infos):
    result = PixelData(sem_seg=torch.as_tensor(values, dtype=torch.int32)[None])
    result.set_metainfo(dict(segments_info=[
        dict(id=i, label=i % 1000, isthing=i >= 1000, score=score) for i, score in infos]))
    return result


def stitch(left, right, merge_iou=0.5):
    """Two tiles of 1 x 8 pixels with 4 in common, of an image of 1 x 12."""
    tiles = tile_grid((1, 12), (1, 8), 4)
    stitcher = PanopticStitcher((1, 12), 1, 2, merge_iou, torch.device('cpu'))
    stitcher.add(tiles[0], left)
    stitcher.add(tiles[1], right)
    return stitcher.result()


def test_things_join_by_iou_within_the_overlap():
    # pixels 4 .. 7 are shared: the left tile gives 3 of them to the thing, the right one 2
    left = panoptic([[2, 2, 1000, 1000, 1000, 1000, 1000, 2]], (1000, 0.9))
    right = panoptic([[1000, 1000, 2, 2, 2, 2, 2, 2]], (1000, 0.6))
    joined = stitch(left, right, 2 / 3)
    assert joined.sem_seg[0].tolist() == [[2, 2, 1000, 1000, 1000, 1000, 2, 2, 2, 2, 2, 2]]
    # only the left tile decides pixels of it
    assert joined.segments_info == [
        dict(id=1000, label=0, isthing=True, score=pytest.approx(0.9))]
    cut = stitch(panoptic([[2, 2, 1000, 1000, 1000, 1000, 1000, 1000]], (1000, 0.9)),
                 panoptic([[2, 2, 1000, 1000, 1000, 1000, 2, 2]], (1000, 0.6)), 0.6)
    assert cut.sem_seg[0].tolist() == [[2, 2] + [1000] * 4 + [2000] * 4 + [2, 2]]
    whole = stitch(panoptic([[2, 2, 1000, 1000, 1000, 1000, 1000, 1000]], (1000, 0.9)),
                   panoptic([[2, 2, 1000, 1000, 1000, 1000, 2, 2]], (1000, 0.6)), 0.5)
    assert whole.sem_seg[0].tolist() == [[2, 2] + [1000] * 8 + [2, 2]]
    assert whole.segments_info[0]['score'] == pytest.approx(0.75)


def test_stuff_joins_by_class_and_things_need_the_same_class():
    left = panoptic([[1] * 4 + [1000] * 4], (1, 0.8), (1000, 0.9))
    right = panoptic([[1] * 6 + [2] * 2], (1, 0.5))
    result = stitch(left, right)
    assert result.sem_seg[0].tolist() == [[1] * 4 + [1000] * 2 + [1] * 4 + [2] * 2]
    assert [info['id'] for info in result.segments_info] == [1000, 1]
    assert result.segments_info[1]['score'] == pytest.approx((4 * 0.8 + 4 * 0.5) / 8)


def test_a_thing_joins_at_most_one_of_another_tile():
    left = panoptic([[2] * 4 + [1000] * 4], (1000, 0.9))
    right = panoptic([[1000, 2000, 2000, 2000] + [2] * 4], (1000, 0.7), (2000, 0.7))
    result = stitch(left, right, 0.2)
    # the better pair, 3 of 4 pixels, is joined; the other thing decides no pixel
    assert result.sem_seg[0].tolist() == [[2] * 4 + [1000] * 4 + [2] * 4]
    assert len(result.segments_info) == 1


def test_instances_that_overlap_each_other():
    """Overlapping masks of one class and of two, each spanning both tiles."""
    whole = torch.zeros(4, 10, 20, dtype=torch.bool)
    whole[0, 2:8, 3:17] = True
    whole[1, 4:10, 5:15] = True
    whole[2, 2:8, 3:17] = True
    whole[3, :2, :4] = True
    labels, scores = torch.tensor([0, 0, 1, 0]), torch.tensor([0.9, 0.8, 0.7, 0.6])
    stitcher = InstanceStitcher((10, 20), 100, 0.5, 'dense', torch.device('cpu'))
    for tile in tile_grid((10, 20), (10, 12), 4):
        masks = whole[:, tile.rows.seen, tile.columns.seen]
        order = torch.randperm(4)
        stitcher.add(tile, InstanceData(
            masks=masks[order], labels=labels[order], scores=scores[order]))
    found = stitcher.result()
    assert torch.equal(found.masks, whole) and torch.equal(found.labels, labels)
    torch.testing.assert_close(found.scores, scores)


@pytest.mark.parametrize('length, tile, overlap', [
    (100, 32, 8), (33, 32, 8), (32, 32, 8), (5, 32, 8), (6000, 1024, 128), (101, 10, 9)])
def test_tiles_along_an_axis(length, tile, overlap):
    found = spans(length, tile, overlap)
    assert {s.stop - s.start for s in found} == {min(tile, length)}
    assert found[0].start == 0 and found[-1].stop == length
    assert all(a.stop - b.start >= overlap for a, b in zip(found, found[1:]))
    # as few as possible
    assert len(found) == 1 or (len(found) - 1) * (tile - overlap) + overlap < length
    owner = [k for k, s in enumerate(found) for _ in range(s.core_start, s.core_stop)]
    assert len(owner) == length
    centers = np.array([(s.start + s.stop) / 2 for s in found])
    distance = np.abs(np.arange(length)[:, None] + 0.5 - centers)
    assert (distance[np.arange(length), owner] <= distance.min(1) + 0.5).all()


def test_nearest_pixel():
    plane = torch.arange(12).view(3, 4)
    expected = torch.nn.functional.interpolate(
        plane[None, None].float(), (7, 3), mode='nearest-exact')[0, 0].long()
    assert torch.equal(resize_nearest(plane, (7, 3)), expected)


@pytest.mark.parametrize('options, text', [
    (dict(mode='slide'), "mode='slide' is unknown; choose one of whole, tile"),
    (dict(tiles=(5, 5)), "no entry 'tiles'"),
    (dict(tile=(64, 64), overlap=64), 'overlap=64 must lie between 1 and 63'),
    (dict(tile=(64, 64), overlap=0), 'overlap=0'),
    (dict(tile=(64, )), 'must be height and width'),
    (dict(merge_iou=0), 'merge_iou=0')])
def test_mistakes(colors, options, text):
    with pytest.raises(ValueError, match=text):
        colors.model(**options)


ODD = [(64, 96), (33, 47), (65, 97), (50, 70)]
# how inputs are padded: by a multiple, to a size, to 32 k + 1, with a value, not at all
PADDING = dict(
    none=None,
    multiple=dict(type='DetDataPreprocessor', pad_size_divisor=32, **NORMALIZE),
    filled=dict(type='DetDataPreprocessor', pad_size_divisor=16, pad_value=1.5, **NORMALIZE),
    free=dict(type='DetDataPreprocessor', **NORMALIZE),
    fixed=dict(type='mmpanseg.FixedSizeDataPreprocessor', size=(97, 129), **NORMALIZE),
    next=dict(type='mmpanseg.FixedSizeDataPreprocessor', size=None, **NORMALIZE))


def results(sample):
    return dict(panoptic=sample.pred_panoptic_seg.sem_seg, semantic=sample.pred_sem_seg.sem_seg,
                masks=sample.pred_instances.masks, scores=sample.pred_instances.scores,
                labels=sample.pred_instances.labels)


@pytest.mark.parametrize('system, padding', [
    *((system, None) for system in SYSTEMS), ('kmax_deeplab_convnext', None),
    *(('kmax_deeplab', name) for name in PADDING), ('mask2former', 'filled'),
    ('panoptic_segformer', 'fixed')])
def test_one_tile_is_the_whole_image_bit_by_bit(system, padding):
    parts = {} if padding is None else dict(data_preprocessor=PADDING[padding])
    whole = build(system, parts=parts).eval()
    tiled = build(system, parts=parts, mode='tile', tile=(100, 100), overlap=10).eval()
    for size in ODD[1:2] if padding == 'none' else ODD:
        data = batch(size)
        if padding == 'none':  # such a model is given its inputs ready-made
            data['inputs'] = data['inputs'][0].float()[None]
            for sample in data['data_samples']:
                sample.set_metainfo(dict(batch_input_shape=size))
        expected, = whole.test_step(copy.deepcopy(data))
        found, = tiled.test_step(data)
        assert found.pred_panoptic_seg.segments_info == expected.pred_panoptic_seg.segments_info
        for name, value in results(expected).items():
            assert torch.equal(results(found)[name], value), (name, size)


@pytest.mark.parametrize('padding', [name for name in PADDING if name != 'none'])
def test_padding_is_the_preprocessors_own(padding):
    model = build('mask2former', parts=dict(data_preprocessor=PADDING[padding]))
    for size in ODD:
        data = model.data_preprocessor(batch(size), False)['inputs']
        assert torch.equal(model.pad(data[..., :size[0], :size[1]].repeat(2, 1, 1, 1)),
                           data.repeat(2, 1, 1, 1))
        half = model.pad(data[..., :size[0], :size[1]].half())
        assert half.dtype == torch.float16 and torch.equal(half, data.half())
