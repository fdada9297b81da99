"""Whether a backbone gives the maps that a head reads, found out before any image."""
from itertools import chain

import torch
from torch import nn
from torch.func import functional_call

# pixels of the side of an image that every backbone takes
_SIDE = 64


def check_feature_maps(backbone: nn.Module, backbone_cfg: dict, head_cfg: dict) -> None:
    """Compare the channels of a backbone's maps with a head's ``in_channels``.

    Args:
        backbone: built.
        backbone_cfg, head_cfg: configs of both; a head without ``in_channels`` reads anything.

    Raises:
        ValueError: they differ; the text names both.
    """
    declared = head_cfg.get('in_channels')
    if declared is None:
        return
    found = channels_of_maps(backbone, backbone_cfg.get('in_channels', 3))
    if found is None or found == list(declared):
        return
    advice = '' if len(found) == len(declared) else (
        f', or choose {len(declared)} maps by model.backbone.out_indices (or with_stem)')
    raise ValueError(
        f'model.backbone ({type(backbone).__name__}) gives maps of {found} channels, but '
        f'model.panoptic_head.in_channels={list(declared)}: set that to {found}{advice}')


@torch.no_grad()
def channels_of_maps(backbone: nn.Module, in_channels: int) -> list[int] | None:
    """Channels of a backbone's maps, computed from shapes alone.

    Args:
        in_channels: of the images.

    Returns:
        one number for each map; None for a backbone that does not work without numbers.
    """
    tensors = {name: torch.empty_like(tensor, device='meta') for name, tensor in chain(
        backbone.named_parameters(), backbone.named_buffers())}
    modes = {module: module.training for module in backbone.modules()}
    backbone.eval()
    try:
        image = torch.empty(1, in_channels, _SIDE, _SIDE, device='meta')
        maps = functional_call(backbone, tensors, (image, ))
        return [int(x.shape[1]) for x in maps]
    except Exception:  # of a network of whatever origin: its first image will tell
        return None
    finally:
        for module, training in modes.items():
            module.training = training
