"""Panoptic copy-paste against the published dataset mapper and a slow definition."""
import numpy as np
import pytest
import torch

from mmpanseg.datasets.transforms import FilterLabeledPixels, PackPanopticInputs, PanopticCopyPaste
from mmpanseg.datasets.transforms.copy_paste import merge_stuff
from mmpanseg.datasets.transforms.loading_panoptic import index_segments
from mmpanseg.structures import SegmentMap


def sample(content):
    """Results as they are behind ``LoadPanopticMap``."""
    segments = [dict(s, category=s['category_id'], is_thing=s['isthing'])
                for s in content['segments_info']]
    return dict(
        img=content['image'].numpy(), segments_info=segments,
        gt_seg_map=index_segments(content['panoptic_ids'].numpy(), segments, 'fixture'),
        gt_segment_labels=np.asarray([s['category'] for s in segments if not s['iscrowd']]))


@pytest.mark.parametrize('case', ['a', 'b'])
def test_published_mapper(golden, monkeypatch, case):
    case = torch.load(golden / 'kmax_deeplab/copy_paste.pth', weights_only=True)[case]
    inputs, expected = case['inputs'], case['outputs']
    ids = [s['id'] for s in inputs['paste']['segments_info'] if not s['iscrowd']]
    order = [ids.index(i) for i in inputs['shuffled_paste_ids']]
    monkeypatch.setattr(PanopticCopyPaste, '_draw',
                        lambda self, count: np.asarray(order[:inputs['keep_number']]))
    paste = PanopticCopyPaste(case['settings']['image_size'])
    results = paste(dict(sample(inputs['main']), mix_results=[sample(inputs['paste'])]))

    assert np.array_equal(results['img'].transpose(2, 0, 1), expected['image'].numpy())
    assert np.array_equal(results['real_pixels'], expected['is_real_pixels'].numpy())
    results = FilterLabeledPixels(0, stride=4)(results)
    segments = SegmentMap(torch.from_numpy(results['gt_segment_labels']),
                          map=torch.from_numpy(results['gt_seg_map'])[::4, ::4])
    assert torch.equal(segments.labels, expected['gt_classes'])
    assert torch.equal(segments.dense(), expected['gt_masks'])
    labeled = segments.map >= 0
    assert int(labeled.sum()) == expected['valid_pixel_num']
    semantic = torch.where(labeled, segments.labels[segments.map.clamp(min=0).long()], -1)
    assert torch.equal(semantic, expected['sem_seg_gt'])


def test_number_of_pasted_segments_is_uniform():
    np.random.seed(0)
    paste = PanopticCopyPaste((8, 8))
    drawn = [paste._draw(3) for _ in range(4000)]
    counts = np.bincount([len(d) for d in drawn], minlength=4)
    assert counts / 4000 == pytest.approx(np.full(4, 0.25), abs=0.03)
    # each segment is in half of the draws
    shares = np.bincount(np.concatenate(drawn), minlength=3) / 4000
    assert shares == pytest.approx(np.full(3, 0.5), abs=0.03)


def test_merge_stuff_against_dense_masks():
    rng = np.random.default_rng(0)
    for _ in range(20):
        labels = rng.integers(0, 4, 9)
        things = labels < 2
        index_map = rng.integers(-1, 9, (6, 7)).astype(np.int32)
        index_map[np.isin(index_map, rng.integers(0, 9, 3))] = -1
        expected = []
        for i, label in enumerate(labels):
            same = [i] if things[i] else np.flatnonzero(labels == label)
            mask = np.isin(index_map, same)
            if i == same[0] and mask.any():
                expected.append((label, mask))
        ours_map, ours_labels = merge_stuff(index_map, labels, things)
        assert ours_map.dtype == np.int32
        assert ours_labels.tolist() == [label for label, _ in expected]
        for i, (_, mask) in enumerate(expected):
            assert np.array_equal(ours_map == i, mask)
        assert np.array_equal(ours_map == -1, index_map == -1)


def simple(label, is_thing, size=(4, 5), value=1):
    return dict(img=np.full((*size, 3), value, np.uint8), gt_seg_map=np.zeros(size, np.int32),
                gt_segment_labels=np.asarray([label]), img_path='x.png',
                segments_info=[dict(category=label, is_thing=is_thing)])


def test_second_image_goes_through_its_transforms_and_the_mask_reaches_the_sample():
    enlarge = dict(type='mmdet.Resize', scale=(10, 8), keep_ratio=True)
    paste = PanopticCopyPaste((8, 12), [enlarge])
    results = paste(dict(simple(3, False), mix_results=[simple(0, True, value=2)]))
    assert (results['img'][:, :10] == 2).all() and (results['img'][:, 10:] == 0).all()
    assert results['gt_segment_labels'].tolist() == [0] and 'mix_results' not in results
    packed = PackPanopticInputs(meta_keys=())(results)
    real = packed['data_samples'].real_pixels
    assert real.shape == (8, 12) and real[:, :10].all() and not real[:, 10:].any()
    assert packed['data_samples'].to('cpu').real_pixels.dtype == torch.bool


def test_second_image_given_up():
    paste = PanopticCopyPaste((8, 12), [dict(type='mmpanseg.FilterLabeledPixels', min_pixels=99)])
    assert paste(dict(simple(0, True), mix_results=[simple(0, True)])) is None


def test_errors():
    with pytest.raises(KeyError, match='ResamplingMixDataset'):
        PanopticCopyPaste((8, 8))(simple(0, True))
    with pytest.raises(ValueError, match='x.png has 4x5 pixels.*4x4: crop first'):
        PanopticCopyPaste((4, 4))(dict(simple(0, True), mix_results=[simple(0, True)]))


def test_plain_images_have_no_mask(tiny):
    assert 'real_pixels' not in tiny.build()[0]['data_samples']


def test_masks_of_instances_are_not_pasted():
    results = dict(img=np.zeros((4, 4, 3), np.uint8), img_path='a.jpg', gt_masks=None)
    with pytest.raises(ValueError, match="a.jpg: PanopticCopyPaste needs .* mmdet's CopyPaste"):
        PanopticCopyPaste((8, 8))(dict(results, mix_results=[dict(results)]))
