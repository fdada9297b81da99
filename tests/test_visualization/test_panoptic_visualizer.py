"""The visualizer that hooks and inferencers call."""
import cv2
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.visualization import DetLocalVisualizer
from mmengine.structures import InstanceData, PixelData

from mmpanseg.structures import SegmentMap
from mmpanseg.structures.encoded_masks import encode_mask
from mmpanseg.visualization import DrawnSegment, PanopticVisualizer, draw_panoptic

META = dict(classes=('car', 'sky'), thing_classes=('car',), stuff_classes=('sky',),
            palette=[(200, 30, 30), (70, 130, 180)])
SIZE = (60, 80)


@pytest.fixture
def visualizer():
    visualizer = PanopticVisualizer(min_side=0)
    visualizer.dataset_meta = META
    return visualizer


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def pan_map():
    value = torch.full((1, *SIZE), 1)
    value[:, 30:, :40], value[:, 50:, 60:] = 1000, 2
    return value


def sample(with_pred=True, with_gt=True, score=0.9, with_info=True):
    result = DetDataSample()
    if with_pred:
        seg = PixelData(sem_seg=pan_map())
        if with_info:
            seg.set_metainfo(dict(segments_info=[
                dict(id=1, label=1, isthing=False, score=0.8),
                dict(id=1000, label=0, isthing=True, score=score)]))
        result.pred_panoptic_seg = seg
    if with_gt:
        index = torch.full(SIZE, -1, dtype=torch.int32)
        index[:30], index[30:, :40] = 0, 1
        result.gt_segments = SegmentMap(torch.tensor([1, 0]), map=index)
    return result


def saved(visualizer, tmp_path, *args, **kwargs):
    visualizer.add_datasample('name', *args, out_file=str(tmp_path / 'a' / 'b.png'), **kwargs)
    return cv2.imread(str(tmp_path / 'a' / 'b.png'))[..., ::-1]


SEGMENTS = [DrawnSegment(1, 1, False, 0.8), DrawnSegment(1000, 0, True, 0.9)]


def test_prediction_alone_is_the_overlay(visualizer, image, tmp_path):
    expected = draw_panoptic(image, pan_map()[0].numpy(), SEGMENTS, META['classes'],
                             META['palette'], min_side=0)
    picture = saved(visualizer, tmp_path, image, sample(with_gt=False))
    np.testing.assert_array_equal(picture, expected)
    assert visualizer.get_image().shape == expected.shape


def test_ground_truth_stands_beside_it(visualizer, image, tmp_path):
    picture = saved(visualizer, tmp_path, image, sample())
    assert picture.shape[1] >= 3 * SIZE[1]
    np.testing.assert_array_equal(picture[:SIZE[0], :SIZE[1]], image)
    np.testing.assert_array_equal(
        saved(visualizer, tmp_path, image, sample(), draw_gt=False),
        saved(visualizer, tmp_path, image, sample(with_gt=False)))


def test_things_below_the_threshold_are_left_out(visualizer, image, tmp_path):
    picture = saved(visualizer, tmp_path, image, sample(with_gt=False, score=0.2))
    np.testing.assert_array_equal(picture[30:, :40], image[30:, :40])
    assert (picture[:25] != image[:25]).any()


def test_map_without_segment_list(visualizer, image, tmp_path):
    # 2 is void: it equals the number of classes.
    picture = saved(visualizer, tmp_path, image, sample(with_gt=False, with_info=False))
    np.testing.assert_array_equal(picture[52:, 62:], image[52:, 62:])
    assert (picture[:25] != image[:25]).any() and (picture[35:, :35] != image[35:, :35]).any()


def test_ground_truth_of_another_size_and_as_masks(visualizer, image, tmp_path):
    half = sample(with_pred=False)
    half.gt_segments = SegmentMap(half.gt_segments.labels, map=half.gt_segments.map[::2, ::2])
    masks = sample(with_pred=False)
    masks.gt_segments = SegmentMap(masks.gt_segments.labels, masks=masks.gt_segments.dense())
    expected = saved(visualizer, tmp_path, image, sample(with_pred=False))
    np.testing.assert_array_equal(saved(visualizer, tmp_path, image, half), expected)
    np.testing.assert_array_equal(saved(visualizer, tmp_path, image, masks), expected)


@pytest.mark.parametrize('meta', [{}, dict(classes=('car', 'sky'), palette='random'),
                                  dict(classes=('car', 'sky'), palette='coco')])
def test_incomplete_dataset_meta(visualizer, image, tmp_path, meta):
    visualizer.dataset_meta = meta
    assert saved(visualizer, tmp_path, image, sample()).shape[1] >= 3 * SIZE[1]


def test_other_samples_are_mmdets(visualizer, image, tmp_path):
    boxes = DetDataSample(pred_instances=InstanceData(
        bboxes=torch.tensor([[5., 5., 40., 40.]]), labels=torch.tensor([0]),
        scores=torch.tensor([0.9])))
    mmdets = DetLocalVisualizer(alpha=0.55)
    mmdets.dataset_meta = META
    np.testing.assert_array_equal(saved(visualizer, tmp_path, image, boxes),
                                  saved(mmdets, tmp_path, image, boxes))


def test_instances_alone(visualizer, image, tmp_path):
    """Of two that overlap the better one lies on top; dense masks and run lengths look alike."""
    masks = torch.zeros(3, *SIZE, dtype=torch.bool)
    masks[0, 10:40, 10:50] = masks[1, 30:55, 30:70] = masks[2, :5, :5] = True
    found = dict(labels=torch.tensor([0, 0, 0]), scores=torch.tensor([0.9, 0.6, 0.1]))
    dense, rle = (DetDataSample(metainfo=dict(ori_shape=SIZE), pred_instances=InstanceData(
        masks=m, **found)) for m in (masks, [encode_mask(mask) for mask in masks]))
    expected_map = np.full(SIZE, -1)
    expected_map[masks[1]], expected_map[masks[0]] = 1, 0
    expected = draw_panoptic(
        image, expected_map, [DrawnSegment(1, 0, True, 0.6), DrawnSegment(0, 0, True, 0.9)],
        META['classes'], META['palette'], min_side=0)
    np.testing.assert_array_equal(saved(visualizer, tmp_path, image, dense), expected)
    np.testing.assert_array_equal(saved(visualizer, tmp_path, image, rle), expected)


def test_semantic_map_alone(visualizer, image, tmp_path):
    labels = torch.zeros(1, *SIZE, dtype=torch.int32)
    labels[:, 20:] = 1
    sample = DetDataSample(pred_sem_seg=PixelData(sem_seg=labels))
    expected = draw_panoptic(image, labels[0].numpy(), [DrawnSegment(k, k, False) for k in (0, 1)],
                             META['classes'], META['palette'], min_side=0)
    np.testing.assert_array_equal(saved(visualizer, tmp_path, image, sample), expected)


def test_backends_get_the_picture(image, tmp_path):
    visualizer = PanopticVisualizer(min_side=0, vis_backends=[dict(type='LocalVisBackend')],
                                    save_dir=str(tmp_path))
    visualizer.dataset_meta = META
    visualizer.add_datasample('val_img', image, sample(), step=7)
    stored = list(tmp_path.rglob('val_img_7.png'))
    assert len(stored) == 1
    assert np.array_equal(cv2.imread(str(stored[0]))[..., ::-1],
                          saved(visualizer, tmp_path, image, sample()))


@pytest.mark.parametrize('options', [
    dict(style='mask', line_width=0), dict(style='outlines', label_size=2),
    dict(palette='colorblind'), dict(palette={'sky': 'red'})])
def test_styles_and_colors(image, tmp_path, options):
    visualizer = PanopticVisualizer(min_side=0, **options)
    visualizer.dataset_meta = META
    expected = draw_panoptic(image, pan_map()[0].numpy(), SEGMENTS, META['classes'], min_side=0,
                             base_palette=META['palette'], **options)
    np.testing.assert_array_equal(
        saved(visualizer, tmp_path, image, sample(with_gt=False)), expected)


def test_backends_have_no_transparency():
    with pytest.raises(ValueError, match='style is one of overlay, mask, outlines, not .transp'):
        PanopticVisualizer(style='transparent')
