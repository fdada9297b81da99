"""Selection of queries by their class scores, and class logits of the selected candidates.

Shapes: B images, N queries, n selected candidates, K classes, S stuff classes.
"""
import torch
import torch.nn.functional as F
from torch import Tensor


def gather_queries(values: Tensor, queries: Tensor) -> Tensor:
    """Gather the values of selected queries.

    Args:
        values: values of all queries [B, N, C].
        queries: indices of the selected queries, int64 [B, n].

    Returns:
        values [B, n, C].
    """
    return values.gather(1, queries[..., None].expand(-1, -1, values.shape[-1]))


def top_queries(cls_logits: Tensor, count: int) -> Tensor:
    """Select the queries with the largest logit of any class.

    Args:
        cls_logits: class logits [B, N, K].
        count: number of queries to select; all of them if there are fewer.

    Returns:
        indices int64 [B, n] in decreasing order of the logit.
    """
    return cls_logits.amax(-1).topk(min(count, cls_logits.shape[1])).indices


def top_class_pairs(cls_logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Select the pairs of query and class with the largest scores.

    Args:
        cls_logits: class logits [B, N, K], activated by a sigmoid.
        count: number of pairs to select; all of them if there are fewer.

    Returns:
        index of each pair's query, int64 [B, n], in decreasing order of the score; a query may
        occur several times; and class logits [B, n, K] that are -inf for all other classes.
    """
    num_classes = cls_logits.shape[-1]
    scores = cls_logits.sigmoid().flatten(1)
    index = scores.topk(min(count, scores.shape[1])).indices
    queries = index // num_classes
    label = (index % num_classes)[..., None]
    logits = gather_queries(cls_logits, queries)
    selected = torch.full_like(logits, -torch.inf).scatter(2, label, logits.gather(2, label))
    return queries, selected


def one_class_per_query(cls_logits: Tensor) -> Tensor:
    """Class logits [B, S, S] of stuff queries, -inf except for query j and class j.

    Args:
        cls_logits: logit of each query for its own class [B, S, 1].
    """
    count = cls_logits.shape[1]
    own = torch.eye(count, dtype=torch.bool, device=cls_logits.device)
    return cls_logits.expand(-1, -1, count).masked_fill(~own, -torch.inf)


def pad_classes(cls_logits: Tensor, first_class: int, num_classes: int) -> Tensor:
    """Extend class logits to all classes with -inf.

    Args:
        cls_logits: logits [B, n, k] of the classes from ``first_class`` on.
        first_class: label of the first of these classes.
        num_classes: number of all classes K.

    Returns:
        logits [B, n, K].
    """
    after = num_classes - first_class - cls_logits.shape[-1]
    return F.pad(cls_logits, (first_class, after), value=-torch.inf)
