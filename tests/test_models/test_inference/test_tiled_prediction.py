"""Tiled prediction against that of the whole image, with exact network outputs."""
import copy

import numpy as np
import pytest
import torch
from mmdet.structures.mask import mask2bbox
from pycocotools import mask as rle_tools

from mmpanseg.models.inference.tile_grid import tile_grid

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
