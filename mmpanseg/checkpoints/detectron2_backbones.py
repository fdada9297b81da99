"""Key maps from backbones in detectron2 to mmdet."""
from torch import Tensor

from mmpanseg.checkpoints.key_map import Rule


def resnet_rules() -> list[Rule]:
    """Create the rules of ResNet with the prefix ``backbone.``."""
    # stages start with res2 in detectron2 and with layer1 in mmdet
    rules: list[Rule] = [
        (r'backbone\.stem\.conv1\.weight', 'backbone.conv1.weight', None),
        (r'backbone\.stem\.conv1\.norm\.(.+)', r'backbone.bn1.\1', None)]
    for stage in range(2, 6):
        theirs, ours = rf'backbone\.res{stage}\.(\d+)\.', rf'backbone.layer{stage - 1}.\1.'
        rules += [
            (theirs + r'conv(\d)\.weight', ours + r'conv\2.weight', None),
            (theirs + r'conv(\d)\.norm\.(.+)', ours + r'bn\2.\3', None),
            (theirs + r'shortcut\.weight', ours + 'downsample.0.weight', None),
            (theirs + r'shortcut\.norm\.(.+)', ours + r'downsample.1.\2', None)]
    return rules


def swin_rules() -> list[Rule]:
    """Create the rules of Swin Transformer with the prefix ``backbone.``."""
    stage, ours = r'backbone\.layers\.(\d+)\.', r'backbone.stages.\1.'
    block, our_block = stage + r'blocks\.(\d+)\.', ours + r'blocks.\2.'
    return [
        (r'backbone\.patch_embed\.proj\.(.+)', r'backbone.patch_embed.projection.\1', None),
        (r'backbone\.patch_embed\.norm\.(.+)', r'backbone.patch_embed.norm.\1', None),
        (r'backbone\.norm(\d)\.(.+)', r'backbone.norm\1.\2', None),
        (block + r'norm(\d)\.(.+)', our_block + r'norm\3.\4', None),
        (block + r'attn\.(.+)', our_block + r'attn.w_msa.\3', None),
        (block + r'mlp\.fc1\.(.+)', our_block + r'ffn.layers.0.0.\3', None),
        (block + r'mlp\.fc2\.(.+)', our_block + r'ffn.layers.1.\3', None),
        (stage + r'downsample\.(norm\..+|reduction\.weight)', ours + r'downsample.\2',
         to_unfold_order)]


def to_unfold_order(x: Tensor) -> Tensor:
    """Reorder the input channels of patch merging to the order of mmdet.

    Args:
        x: [..., 4 C], channels grouped by the four pixels of a 2 x 2 window.

    Returns:
        [..., 4 C], pixels grouped by channel, in the order of ``nn.Unfold``.
    """
    groups = x.unflatten(-1, (4, -1))[..., [0, 2, 1, 3], :]
    return groups.transpose(-1, -2).flatten(-2)


def to_group_order(x: Tensor) -> Tensor:
    """Invert :func:`to_unfold_order`."""
    groups = x.unflatten(-1, (-1, 4)).transpose(-1, -2)
    return groups[..., [0, 2, 1, 3], :].flatten(-2)
