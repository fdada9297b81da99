"""Heuristic fusion against the procedure written out plainly."""
import pytest
import torch
import torch.nn.functional as F

from mmpanseg.models.fusion_heads import HeuristicFusionHead
from mmpanseg.structures.mask_logits import DenseMaskLogits
from mmpanseg.utils import device as chunks

SIZE, THINGS, CLASSES = (24, 32), 3, 6
META = dict(batch_input_shape=(12, 16), img_shape=(12, 16), ori_shape=SIZE)


def plain(probs, full, score_thr, mask_overlap, area_limit):
    """Map and (label, score) of the segments; ``probs`` [Q, K + 1], ``full`` masks [Q, H, W]."""
    scores, labels = probs.max(-1)
    result, segments = torch.full(SIZE, CLASSES), []
    for query in scores.argsort(descending=True).tolist():
        mask = full[query] > 0.5
        if labels[query] >= THINGS or scores[query] < score_thr or not mask.any():
            continue
        if (mask & (result != CLASSES)).sum() / mask.sum() > mask_overlap:
            continue
        segments.append((int(labels[query]), float(scores[query])))
        result[mask & (result == CLASSES)] = labels[query] + 1000 * len(segments)
    stuff = ((labels >= THINGS) & (labels < CLASSES)).nonzero()[:, 0]
    free = result == CLASSES
    best = labels[stuff][(full[stuff] * scores[stuff, None, None]).argmax(0)]
    for label in range(THINGS, CLASSES):
        mask = free & (best == label)
        if mask.sum() >= area_limit:
            result[mask] = label
            segments.append((label, float(scores[stuff][labels[stuff] == label].max())))
    return result, segments


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('elements', [1, 5 * 24 * 32, 1 << 22])
def test_against_the_plain_procedure(seed, elements, monkeypatch):
    monkeypatch.setitem(chunks.CHUNK_ELEMENTS, 'cpu', elements)
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(1, 20, CLASSES + 1, generator=generator) * 2
    masks = torch.randn(1, 20, 6, 8, generator=generator) * 3 - 2
    masks[0, 0] = -5
    settings = dict(score_thr=0.4, mask_overlap=0.6, stuff_area_limit=40)
    head = HeuristicFusionHead(THINGS, CLASSES - THINGS, **settings)
    result, = head.predict(logits, DenseMaskLogits([masks]), [META])
    full = F.interpolate(F.interpolate(masks, (12, 16), mode='bilinear'), SIZE, mode='bilinear')
    expected, segments = plain(logits[0].softmax(-1), full[0].sigmoid(), *settings.values())
    found = result['pred_panoptic_seg']
    assert torch.equal(found.sem_seg[0].long(), expected)
    assert sum(label < THINGS for label, _ in segments) > 2 and len(expected.unique()) > 4
    assert [(s['label'], pytest.approx(s['score'])) for s in found.segments_info] == segments


def test_no_stuff_and_no_things():
    masks = DenseMaskLogits([torch.full((1, 2, 6, 8), 9.0)])
    logits = torch.tensor([[[9.0, 0.0, 0.0], [9.0, 0.0, 0.0]]])
    head = HeuristicFusionHead(1, 1, stuff_area_limit=1)
    things, = head.predict(logits, masks, [META])
    assert things['pred_panoptic_seg'].sem_seg.unique().tolist() == [1000]
    stuff, = head.predict(logits.roll(1, -1), masks, [META])
    assert stuff['pred_panoptic_seg'].sem_seg.unique().tolist() == [1]
    assert len(stuff['pred_panoptic_seg'].segments_info) == 1
    nothing, = head.predict(logits.roll(2, -1), masks, [META])
    assert nothing['pred_panoptic_seg'].segments_info == []
