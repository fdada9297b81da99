"""Pixel-wise fusion against the published post-processing."""
import pytest
import torch
from mmdet.evaluation.functional import INSTANCE_OFFSET

from mmpanseg.models.fusion_heads.pixelwise import PixelwiseFusionHead
from mmpanseg.structures.mask_logits import DenseMaskLogits, ProductMaskLogits
from mmpanseg.utils import device as chunks

CASES = ['typical', 'low_thresholds', 'maskformer_default_thresholds', 'repeated_stuff',
         'nothing_above_score', 'confident_but_empty_masks']


def fusion_head(settings):
    """The head, and the class order (things first, as ours) that the logits have to take."""
    things = list(settings['thing_classes'])
    order = things + [c for c in range(settings['num_classes']) if c not in things]
    head = PixelwiseFusionHead(
        len(things), len(order) - len(things), object_mask_thr=settings['object_mask_threshold'],
        iou_thr=settings['overlap_threshold'])
    return head, order


def assert_same_panoptic(result, expected_map, expected_info, order, wrong_pixels=0):
    """Our coding (label and instance) against published ids 1..n listed in segments_info."""
    found = result.sem_seg[0]
    info = result.segments_info
    assert [(s['label'], s['isthing']) for s in info] == [
        (order.index(s['category_id']), s['isthing']) for s in expected_info]
    values = torch.tensor([len(order)] + [s['id'] for s in info])
    ids = torch.tensor([0] + [s['id'] for s in expected_info])
    assert ids.tolist() == list(range(len(ids)))
    assert (found != values[expected_map.long()]).sum() <= wrong_pixels
    for segment in info:
        assert segment['id'] % INSTANCE_OFFSET == segment['label']
        assert (segment['id'] >= INSTANCE_OFFSET) == segment['isthing']


@pytest.mark.parametrize('case', CASES)
def test_matches_published_postprocess(golden, case):
    data = torch.load(golden / 'mask2former/postprocess.pth', weights_only=True)['cases'][case]
    cls_logits, masks = data['inputs'].values()
    size = tuple(masks.shape[-2:])
    head, order = fusion_head(data['settings'])
    result, = head.predict(
        cls_logits[None, :, [*order, len(order)]], DenseMaskLogits([masks[None]]),
        [dict(batch_input_shape=size, img_shape=size, ori_shape=size)])
    assert_same_panoptic(result['pred_panoptic_seg'], data['outputs']['panoptic_seg'],
                         data['outputs']['segments_info'], order)


def test_matches_published_inference_pipeline(golden):
    data = torch.load(golden / 'mask2former/inference_pipeline.pth', weights_only=True)
    settings = data['settings']
    head, order = fusion_head(settings)
    metainfos = [
        dict(batch_input_shape=tuple(settings['padded_size']), img_shape=tuple(size),
             ori_shape=tuple(output))
        for size, output in zip(settings['image_sizes'], settings['output_sizes'])]
    results = head.predict(
        data['inputs']['pred_logits'][..., [*order, len(order)]],
        DenseMaskLogits([data['inputs']['pred_masks']]), metainfos)
    for result, expected in zip(results, data['outputs_panoptic_model'], strict=True):
        assert_same_panoptic(
            result['pred_panoptic_seg'], expected['panoptic_seg'], expected['segments_info'],
            order, wrong_pixels=expected['panoptic_seg'].numel() // 1000)


def naive_panoptic(head, cls_logits, masks, size):
    """All masks at full size, then the published rules one after the other."""
    scores, labels = cls_logits.softmax(-1).max(-1)
    full = torch.nn.functional.interpolate(masks[None], size, mode='bilinear')[0].sigmoid()
    kept = (labels != head.num_classes) & (scores > head.object_mask_thr)
    out = torch.full(size, head.num_classes)
    if not kept.any():
        return out
    winner = (scores[kept, None, None] * full[kept]).argmax(0)
    instances = 0
    for i, label in enumerate(labels[kept].tolist()):
        won, own = winner == i, full[kept][i] >= 0.5
        painted = won & own
        if painted.any() and won.sum() / own.sum() >= head.iou_thr:
            instances += label < head.num_things_classes
            out[painted] = label + (label < head.num_things_classes) * instances * 1000
    return out


@pytest.mark.parametrize('seed', range(3))
def test_streaming_equals_naive(seed, monkeypatch):
    torch.manual_seed(seed)
    head = PixelwiseFusionHead(3, 4, object_mask_thr=0.2, iou_thr=0.05)
    embeds, features = torch.randn(1, 1, 20, 8) * 3, torch.randn(1, 8, 12, 16)
    cls_logits = torch.randn(1, 20, 8) * 3
    size = (48, 64)
    naive = naive_panoptic(
        head, cls_logits[0], (embeds[0, 0] @ features[0].flatten(1)).view(-1, 12, 16), size)
    assert len(naive.unique()) > 3
    for elements in (1, 5 * 48 * 64):  # one query at a time, and a few
        monkeypatch.setitem(chunks.CHUNK_ELEMENTS, 'cpu', elements)
        result, = head.predict(
            cls_logits, ProductMaskLogits(embeds, features),
            [dict(batch_input_shape=size, img_shape=size, ori_shape=size)])
        assert torch.equal(result['pred_panoptic_seg'].sem_seg[0].long(), naive)
