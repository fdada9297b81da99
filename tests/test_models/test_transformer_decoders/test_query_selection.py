"""Selection of queries for the mask decoder, against loops over numbers."""
import torch

from mmpanseg.models.transformer_decoders.query_selection import (
    gather_queries,
    one_class_per_query,
    pad_classes,
    top_class_pairs,
    top_queries,
)

INF = float('inf')


def test_pairs_in_decreasing_order_of_the_score():
    logits = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    queries, selected = top_class_pairs(logits, 7)
    for image in range(2):
        pairs = sorted(((logits[image, q, k].item(), q, k) for q in range(5) for k in range(3)),
                       reverse=True)[:7]
        assert queries[image].tolist() == [q for _, q, _ in pairs]
        for row, (value, _, label) in zip(selected[image].tolist(), pairs, strict=True):
            assert row == [value if k == label else -INF for k in range(3)]


def test_no_more_than_there_are():
    logits = torch.zeros(1, 2, 3)
    assert top_class_pairs(logits, 100)[0].shape == (1, 6)
    assert top_queries(logits, 100).shape == (1, 2)


def test_queries_by_their_best_class():
    logits = torch.tensor([[[0.0, 3.0], [2.0, 1.0], [9.0, -9.0]]])
    assert top_queries(logits, 2).tolist() == [[2, 0]]


def test_gathered_values():
    values = torch.arange(12.0).view(2, 3, 2)
    found = gather_queries(values, torch.tensor([[2, 0, 2], [1, 1, 0]]))
    assert torch.equal(found[0], values[0][[2, 0, 2]])
    assert torch.equal(found[1], values[1][[1, 1, 0]])


def test_classes_of_stuff_queries():
    logits = one_class_per_query(torch.tensor([[[1.0], [2.0]]]))
    assert logits.tolist() == [[[1.0, -INF], [-INF, 2.0]]]
    assert pad_classes(logits, 1, 4).tolist() == [
        [[-INF, 1.0, -INF, -INF], [-INF, -INF, 2.0, -INF]]]
