"""Semantic and instance results against the published post-processing and slow definitions."""
import numpy as np
import pytest
import torch
from mmdet.structures.mask import mask2bbox
from pycocotools import mask as rle_tools

from mmpanseg.models.fusion_heads import PixelwiseFusionHead
from mmpanseg.models.fusion_heads.semantic import semantic_score_reader
from mmpanseg.models.inference.test_cfg import OutputOptions
from mmpanseg.structures.mask_logits import DenseMaskLogits, ProductMaskLogits
from mmpanseg.utils import device as chunks

CASES = ['typical', 'low_thresholds', 'maskformer_default_thresholds', 'repeated_stuff',
         'nothing_above_score', 'confident_but_empty_masks']


def class_order(settings, all_things=False):
    """Published classes things first, and how many are things."""
    if all_things:
        return list(range(settings['num_classes'])), settings['num_classes']
    things = list(settings['thing_classes'])
    rest = [c for c in range(settings['num_classes']) if c not in things]
    return things + rest, len(things)


def head_for(settings, all_things=False):
    order, things = class_order(settings, all_things)
    head = PixelwiseFusionHead(
        things, len(order) - things, object_mask_thr=settings['object_mask_threshold'],
        iou_thr=settings['overlap_threshold'])
    return head, order


def assert_same_instances(found, expected, order, tolerance=1e-5, wrong=0.0):
    """The same set of (class, score, mask), in any order."""
    assert len(found.scores) == len(expected['scores'])
    left = list(range(len(found.scores)))
    for score, label, mask in zip(expected['scores'], expected['classes'], expected['masks']):
        match = [i for i in left if order[found.labels[i]] == label
                 and abs(found.scores[i] - score) <= tolerance
                 and (found.masks[i] != mask).float().mean() <= wrong]
        assert match, (float(score), int(label))
        left.remove(match[0])
    torch.testing.assert_close(found.bboxes, mask2bbox(found.masks), rtol=0, atol=0)


def same_size(size):
    return dict(batch_input_shape=size, img_shape=size, ori_shape=size)


@pytest.mark.parametrize('case', CASES)
@pytest.mark.parametrize('rows', [60, 7])
def test_published_semantic_scores(golden, case, rows):
    data = torch.load(golden / 'mask2former/postprocess.pth', weights_only=True)['cases'][case]
    cls_logits, masks = data['inputs'].values()
    height, width = masks.shape[-2:]
    head, order = head_for(data['settings'])
    view, = head.views(cls_logits[None, :, [*order, len(order)]], DenseMaskLogits([masks[None]]),
                       [same_size((height, width))])
    read = semantic_score_reader(view)
    scores = torch.cat([read(start, min(start + rows, height))
                        for start in range(0, height, rows)], dim=1)
    torch.testing.assert_close(scores, data['outputs']['sem_seg'][order], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize('case', CASES)
@pytest.mark.parametrize('kind', ['panoptic', 'instance'])
def test_published_instances(golden, case, kind):
    data = torch.load(golden / 'mask2former/postprocess.pth', weights_only=True)['cases'][case]
    cls_logits, masks = data['inputs'].values()
    head, order = head_for(data['settings'], all_things=kind == 'instance')
    result, = head.predict(
        cls_logits[None, :, [*order, len(order)]], DenseMaskLogits([masks[None]]),
        [same_size(tuple(masks.shape[-2:]))],
        outputs=OutputOptions(instance_on=True, max_per_image=data['settings']['topk_per_image']))
    assert_same_instances(result['pred_instances'],
                          data['outputs'][f'instances_{kind}_model'], order)


@pytest.fixture
def pipeline(golden):
    data = torch.load(golden / 'mask2former/inference_pipeline.pth', weights_only=True)
    settings = data['settings']
    metainfos = [
        dict(batch_input_shape=tuple(settings['padded_size']), img_shape=tuple(size),
             ori_shape=tuple(output))
        for size, output in zip(settings['image_sizes'], settings['output_sizes'])]
    return data, metainfos


@pytest.mark.parametrize('key, options', [
    ('outputs_panoptic_model', dict()),
    ('outputs_semantic_model_resize_after', dict(panoptic_on=False))])
@pytest.mark.parametrize('elements', [1, 1 << 22])
def test_published_pipeline_semantic(pipeline, key, options, elements, monkeypatch):
    data, metainfos = pipeline
    monkeypatch.setitem(chunks.CHUNK_ELEMENTS, 'cpu', elements)
    head, order = head_for(data['settings'])
    outputs = OutputOptions(semantic_on=True, **options)
    arguments = (data['inputs']['pred_logits'][..., [*order, len(order)]],
                 DenseMaskLogits([data['inputs']['pred_masks']]), metainfos)
    views = head.views(*arguments)
    results = head.predict(*arguments, outputs=outputs)
    for view, result, expected in zip(views, results, data[key], strict=True):
        wanted = expected['sem_seg'][order]
        scores = semantic_score_reader(view, outputs.resize_scores)(0, wanted.shape[1])
        torch.testing.assert_close(scores, wanted, atol=1e-5, rtol=1e-5)
        labels = result['pred_sem_seg'].sem_seg
        assert labels.dtype == torch.int32 and labels.shape == (1, *wanted.shape[1:])
        assert torch.equal(labels[0].long(), wanted.argmax(0))


@pytest.mark.parametrize('key', ['outputs_panoptic_model', 'outputs_instance_model'])
def test_published_pipeline_instances(pipeline, key):
    data, metainfos = pipeline
    head, order = head_for(data['settings'], all_things=key == 'outputs_instance_model')
    results = head.predict(
        data['inputs']['pred_logits'][..., [*order, len(order)]],
        DenseMaskLogits([data['inputs']['pred_masks']]), metainfos,
        outputs=OutputOptions(panoptic_on=False, instance_on=True,
                        max_per_image=data['settings']['topk_per_image']))
    for result, expected in zip(results, data[key], strict=True):
        assert set(result) == {'pred_instances'}
        assert_same_instances(result['pred_instances'], expected['instances'], order, 1e-4, 0.001)


@pytest.mark.parametrize('elements', [1, 3 * 61 * 90, 1 << 22])
def test_run_lengths_are_the_dense_masks(elements, monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setitem(chunks.CHUNK_ELEMENTS, 'cpu', elements)
    head = PixelwiseFusionHead(3, 2)
    arguments = (torch.randn(1, 12, 6) * 2, ProductMaskLogits(
        torch.randn(1, 1, 12, 4), torch.randn(1, 4, 16, 24)), [
            dict(batch_input_shape=(64, 96), img_shape=(61, 90), ori_shape=(30, 50))])
    dense, rle = (head.predict(*arguments, outputs=OutputOptions(
        instance_on=True, max_per_image=20, mask_format=name))[0]['pred_instances']
        for name in ('dense', 'rle'))
    assert len(rle) == len(dense) > 5
    # some query stands for several classes
    assert len({m['counts'] for m in rle.masks}) < len(rle)
    decoded = np.stack([rle_tools.decode(mask) for mask in rle.masks]).astype(bool)
    np.testing.assert_array_equal(decoded, dense.masks.numpy())
    assert torch.equal(rle.scores, dense.scores) and torch.equal(rle.bboxes, dense.bboxes)


def test_no_things_among_the_best():
    head = PixelwiseFusionHead(1, 1)
    cls_logits = torch.tensor([[[-9.0, 9.0, 0.0]] * 3])
    result, = head.predict(
        cls_logits, DenseMaskLogits([torch.randn(1, 3, 8, 8)]), [same_size((8, 8))],
        outputs=OutputOptions(instance_on=True, max_per_image=2))
    found = result['pred_instances']
    assert len(found.scores) == 0 and found.masks.shape == (0, 8, 8)
    assert found.bboxes.shape == (0, 4)
