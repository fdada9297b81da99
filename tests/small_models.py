"""Small models whose predictions are many different segments."""
import torch


@torch.no_grad()
def spread_queries(model):
    """Queries of an untrained model agree; spread them, and let them all be objects."""
    head = model.panoptic_head
    head.query_feat.weight.mul_(20)
    head.cls_embed.weight.mul_(20)
    head.cls_embed.bias[-1] = -20
