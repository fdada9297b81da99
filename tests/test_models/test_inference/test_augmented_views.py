"""Means over views of an image."""
import pytest
import torch

from mmpanseg.models.fusion_heads import PixelwiseFusionHead
from mmpanseg.models.fusion_heads.semantic import semantic_score_reader
from mmpanseg.models.inference.augmented_views import (
    MIN_SIMILARITY,
    View,
    bhattacharyya_coefficients,
    dice_coefficients,
    merge_views,
)
from mmpanseg.models.inference.full_size_masks import FullSizeMasks
from mmpanseg.models.inference.test_cfg import OutputOptions
from mmpanseg.structures.mask_logits import DenseMaskLogits
from mmpanseg.utils import device as chunks

ALL = OutputOptions(instance_on=True, semantic_on=True)
SIZE = (20, 28)
META = dict(batch_input_shape=(32, 32), img_shape=(25, 31), ori_shape=SIZE)


def random_view(seed, queries=12, **meta):
    generator = torch.Generator().manual_seed(seed)
    cls_logits = torch.randn(queries, 6, generator=generator) * 4
    masks = torch.randn(1, queries, 8, 8, generator=generator) * 4
    return View(cls_logits.softmax(-1),
                FullSizeMasks(DenseMaskLogits([masks]), 0, dict(META, **meta), unflip=True))


def permuted(view, order):
    masks = DenseMaskLogits([view.masks.mask_logits.logits[0][:, order]])
    return View(view.probs[order], FullSizeMasks(masks, 0, META))


def head():
    return PixelwiseFusionHead(3, 2, object_mask_thr=0.3, iou_thr=0.1)


def assert_same_results(found, expected):
    assert torch.equal(found['pred_panoptic_seg'].sem_seg, expected['pred_panoptic_seg'].sem_seg)
    assert (found['pred_panoptic_seg'].segments_info
            == expected['pred_panoptic_seg'].segments_info)
    assert torch.equal(found['pred_sem_seg'].sem_seg, expected['pred_sem_seg'].sem_seg)
    for name, value in expected['pred_instances'].items():
        assert torch.equal(found['pred_instances'][name], value), name


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('count', [2, 3, 7])
@pytest.mark.parametrize('elements', [1, 1 << 22])
def test_equal_views_give_the_result_of_each(seed, count, elements, monkeypatch):
    monkeypatch.setitem(chunks.CHUNK_ELEMENTS, 'cpu', elements)
    view = random_view(seed)
    expected = head().fuse([view], ALL)
    assert len(expected['pred_panoptic_seg'].segments_info) > 2
    assert_same_results(head().fuse([view] * count, ALL), expected)


def test_queries_are_matched_whatever_their_order():
    view = random_view(0)
    order = torch.randperm(12)
    found = head().fuse([view, permuted(view, order), permuted(view, order.flip(0))], ALL)
    expected = head().fuse([view], ALL)
    assert torch.equal(found['pred_panoptic_seg'].sem_seg, expected['pred_panoptic_seg'].sem_seg)


@pytest.mark.parametrize('direction, dims', [
    ('horizontal', (-1, )), ('vertical', (-2, )), ('diagonal', (-2, -1))])
@pytest.mark.parametrize('resize_scores', [False, True])
@pytest.mark.parametrize('elements', [1, 1 << 22])
def test_semantic_scores_are_averaged(direction, dims, resize_scores, elements, monkeypatch):
    """The published rule, on whole score maps."""
    monkeypatch.setitem(chunks.CHUNK_ELEMENTS, 'cpu', elements)
    plain, other = random_view(0), random_view(1)
    flipped = random_view(1, flip=True, flip_direction=direction)
    mean = (semantic_score_reader(plain, resize_scores)(0, 20)
            + semantic_score_reader(other, resize_scores)(0, 20).flip(dims)) / 2
    found = head().fuse([plain, flipped], OutputOptions(
        panoptic_on=False, semantic_on=True,
        semantic_resize='scores' if resize_scores else 'masks'))['pred_sem_seg'].sem_seg[0]
    best = mean.topk(2, dim=0).values
    clear = best[0] - best[1] > 1e-5
    assert clear.float().mean() > 0.99
    assert torch.equal(found[clear].long(), mean.argmax(0)[clear])


def squares(values, size=(8, 8)):
    """Mask logits [1, Q, 8, 8] of (rows, columns, logit) each; -value elsewhere."""
    masks = torch.stack([torch.full(size, -float(v)) for _, _, v in values])
    for mask, (rows, columns, value) in zip(masks, values):
        mask[rows, columns] = value
    return DenseMaskLogits([masks[None]])


def one_size(*queries, probs):
    meta = dict(batch_input_shape=(8, 8), img_shape=(8, 8), ori_shape=(8, 8))
    return View(torch.tensor(probs), FullSizeMasks(squares(queries), 0, meta))


def test_means_of_matched_queries():
    left, right = (slice(0, 8), slice(0, 4)), (slice(0, 8), slice(4, 8))
    first = one_size((*left, 4), (*right, 6), probs=[[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]])
    second = one_size((*right, 2), (*left, 8), probs=[[0.2, 0.6, 0.2], [0.6, 0.2, 0.2]])
    probs, masks = merge_views([first, second])
    torch.testing.assert_close(probs, torch.tensor([[0.7, 0.15, 0.15], [0.15, 0.7, 0.15]]))
    masks, = masks.chunks(torch.arange(2))
    torch.testing.assert_close(masks[0, :, 0], torch.full((8, ), 6.0))
    torch.testing.assert_close(masks[1, :, 0], torch.full((8, ), -4.0))


def test_a_view_has_no_say_on_what_it_did_not_see():
    left, right = (slice(0, 8), slice(0, 4)), (slice(0, 8), slice(4, 8))
    first = one_size((*left, 9), (*right, 9), probs=[[0.9, 0.0, 0.1], [0.0, 0.9, 0.1]])
    second = one_size((*left, 5), (*left, 5), probs=[[0.7, 0.0, 0.3], [0.0, 0.0, 1.0]])
    probs, masks = merge_views([first, second])
    torch.testing.assert_close(probs, torch.tensor([[0.8, 0.0, 0.2], [0.0, 0.9, 0.1]]))
    masks, = masks.chunks(torch.arange(2))
    assert masks[0, 0, 0] == 7 and masks[1, 0, 7] == 9


def test_similarities():
    a = torch.rand(3, 5)
    probs = a / a.sum(1, keepdim=True)
    found = bhattacharyya_coefficients(probs, probs)
    torch.testing.assert_close(found.diagonal(), torch.ones(3))
    assert bhattacharyya_coefficients(torch.eye(2), torch.eye(2))[0, 1] == 0
    masks = torch.tensor([[1.0, 1, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0]])
    found = dice_coefficients(masks, masks)
    torch.testing.assert_close(found[:2, :2], torch.tensor([[1.0, 0.4], [0.4, 1.0]]))
    assert found[2, 2] == 0 and MIN_SIMILARITY == 0.5
