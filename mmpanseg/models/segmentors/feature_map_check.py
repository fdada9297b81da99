"""Check, before any image is read, that a backbone returns the feature maps that a head expects."""
import torch
from torch import nn

# side in pixels of an image that every backbone accepts
_SIDE = 64


def check_feature_maps(backbone: nn.Module, backbone_cfg: dict, head_cfg: dict) -> None:
    """Compare the channels of a backbone's feature maps with ``in_channels`` of a head.

    Args:
        backbone: the module.
        backbone_cfg: its config.
        head_cfg: config of the head; one without ``in_channels`` is not checked.

    Raises:
        ValueError: the numbers of channels differ; the text names both.
    """
    declared = head_cfg.get('in_channels')
    if declared is None:
        return
    found = feature_map_channels(backbone, backbone_cfg.get('in_channels', 3))
    if found is None or found == list(declared):
        return
    advice = '' if len(found) == len(declared) else (
        f', or select {len(declared)} maps with model.backbone.out_indices (or with_stem)')
    raise ValueError(
        f'model.backbone ({type(backbone).__name__}) returns maps of {found} channels, but '
        f'model.panoptic_head.in_channels={list(declared)}: set that to {found}{advice}')


@torch.no_grad()
def feature_map_channels(backbone: nn.Module, in_channels: int) -> list[int] | None:
    """Infer the channels of a backbone's feature maps from a black image of 64 x 64 pixels.

    The meta device would need no numbers, but PyTorch infers shapes there by code that imports its
    compiler, which takes longer than the largest backbone.

    Args:
        backbone: the module; its state is not changed.
        in_channels: channels of the images.

    Returns:
        channels of each map; None for a backbone that cannot run here.
    """
    modes = {module: module.training for module in backbone.modules()}
    backbone.eval()
    try:
        one = next(backbone.parameters(), torch.empty(0))
        image = torch.zeros(1, in_channels, _SIDE, _SIDE, device=one.device, dtype=one.dtype)
        return [int(x.shape[1]) for x in backbone(image)]
    except Exception:  # any error of a backbone of any library; its first image raises it again
        return None
    finally:
        for module, training in modes.items():
            module.training = training
