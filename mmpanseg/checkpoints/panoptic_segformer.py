"""Key map of the released code of Panoptic SegFormer (CVPR version, mmdet 2)."""
import torch
from torch import Tensor

from mmpanseg.checkpoints.detectron2_backbones import swin_rules
from mmpanseg.checkpoints.key_map import Rule, rename
from mmpanseg.checkpoints.sources import CheckpointSource, register_source

_HEAD = 'panoptic_head.'
_WEIGHT = r'\.(weight|bias)'
_MLP = r'\.(\d+)\.([024])\.(weight|bias)'


def _transformer_rules() -> list[Rule]:
    encoder = r'bbox_head\.transformer\.encoder\.layers\.(\d+)\.'
    decoder = r'bbox_head\.transformer\.decoder\.layers\.(\d+)\.'
    our_encoder = rf'{_HEAD}pixel_decoder.encoder.layers.\1.'
    our_decoder = rf'{_HEAD}location_decoder.decoder.layers.\1.'
    return [
        (r'neck\.(.+)', rf'{_HEAD}pixel_decoder.neck.\1', None),
        (r'bbox_head\.transformer\.level_embeds', f'{_HEAD}pixel_decoder.level_embed', None),
        (encoder + r'attentions\.0\.(.+)', our_encoder + r'self_attn.\2', None),
        (encoder + r'ffns\.0\.(.+)', our_encoder + r'ffn.\2', None),
        (encoder + r'norms\.(.+)', our_encoder + r'norms.\2', None),
        (decoder + r'attentions\.0\.(.+)', our_decoder + r'self_attn.\2', None),
        (decoder + r'attentions\.1\.(.+)', our_decoder + r'cross_attn.\2', None),
        (decoder + r'ffns\.0\.(.+)', our_decoder + r'ffn.\2', None),
        (decoder + r'norms\.(.+)', our_decoder + r'norms.\2', None),
        (rf'bbox_head\.transformer\.reference_points{_WEIGHT}',
         rf'{_HEAD}location_decoder.reference_points.\1', None),
        (r'bbox_head\.query_embedding\.weight',
         f'{_HEAD}location_decoder.query_embed.weight', None),
        (rf'bbox_head\.reg_branches{_MLP}',
         rf'{_HEAD}location_decoder.reg_branches.\1.\2.\3', None),
        (rf'bbox_head\.cls_branches\.(\d+){_WEIGHT}',
         rf'{_HEAD}location_decoder.cls_branches.\1.\2', None),
        (r'bbox_head\.stuff_query\.weight', f'{_HEAD}stuff_query_embed.weight', _swap_halves),
        (rf'bbox_head\.reg_branches2{_MLP}',
         rf'{_HEAD}mask_decoder.reg_branches.\1.\2.\3', None)]


def _mask_decoder_rules(theirs: str, classes: str, ours: str) -> list[Rule]:
    """Create the rules of a mask decoder.

    Args:
        theirs: pattern of the decoder in the source.
        classes: pattern of its classifiers in the source.
        ours: name of the decoder in this library.
    """
    block, layer = rf'bbox_head\.{theirs}\.blocks\.(\d+)\.', rf'{_HEAD}{ours}.layers.\1.'
    rules: list[Rule] = [
        (rf'bbox_head\.{classes}\.(\d+){_WEIGHT}', rf'{_HEAD}{ours}.cls_branches.\1.\2', None),
        (block + f'head_norm1{_WEIGHT}', layer + r'norms.0.\2', None),
        (block + f'head_norm2{_WEIGHT}', layer + r'norms.1.\2', None),
        (block + f'norm3{_WEIGHT}', layer + r'norms.2.\2', None),
        (block + f'mlp\\.fc1{_WEIGHT}', layer + r'ffn.layers.0.0.\2', None),
        (block + f'mlp\\.fc2{_WEIGHT}', layer + r'ffn.layers.1.\2', None),
        (block + f'self_attention\\.qkv{_WEIGHT}', layer + r'self_attn.attn.in_proj_\2', None),
        (block + f'self_attention\\.proj{_WEIGHT}', layer + r'self_attn.attn.out_proj.\2', None)]
    for their_part, our_part, group in (
            (block + r'attn\.', layer + 'cross_attn.', 2),
            (rf'bbox_head\.{theirs}\.attnen\.', f'{_HEAD}{ours}.tail.', 1)):
        first, second = rf'\{group}', rf'\{group + 1}'
        generator = our_part + 'mask_generator.'
        rules += [
            (their_part + f'([qkv]){_WEIGHT}', our_part + f'{first}_proj.{second}', None),
            (their_part + f'proj{_WEIGHT}', our_part + f'out_proj.{first}', None),
            (their_part + rf'linear\.0{_WEIGHT}', generator + f'fuse.{first}', None)]
        rules += [
            (their_part + rf'linear_l{level + 1}\.0{_WEIGHT}',
             generator + f'level_projs.{level}.{first}', None) for level in range(3)]
    return rules


def _pvt_rules() -> list[Rule]:
    """Create the rules of PVTv2; stages start at 1 in the source and at 0 in mmdet."""
    rules: list[Rule] = []
    for stage in range(4):
        theirs, ours = rf'backbone\.block{stage + 1}\.(\d+)\.', rf'backbone.layers.{stage}.1.\1.'
        embed, our_embed = rf'backbone\.patch_embed{stage + 1}\.', f'backbone.layers.{stage}.0.'
        rules += [
            (embed + f'proj{_WEIGHT}', our_embed + r'projection.\1', None),
            (embed + f'norm{_WEIGHT}', our_embed + r'norm.\1', None),
            (theirs + f'attn\\.q{_WEIGHT}', ours + r'attn.attn.in_proj_\2#0', None),
            (theirs + f'attn\\.kv{_WEIGHT}', ours + r'attn.attn.in_proj_\2#1', None),
            (theirs + f'attn\\.proj{_WEIGHT}', ours + r'attn.attn.out_proj.\2', None),
            (theirs + f'mlp\\.dwconv\\.dwconv{_WEIGHT}', ours + r'ffn.layers.1.\2', None),
            (theirs + f'(attn\\.sr|attn\\.norm|norm1|norm2){_WEIGHT}', ours + r'\2.\3', None),
            (rf'backbone\.norm{stage + 1}{_WEIGHT}', rf'backbone.layers.{stage}.2.\1', None)]
        for number, index in (('1', '0'), ('2', '4')):
            linear = theirs + f'mlp\\.fc{number}\\.'
            rules += [
                (linear + 'weight', ours + f'ffn.layers.{index}.weight', _as_convolution),
                (linear + 'bias', ours + f'ffn.layers.{index}.bias', None)]
    return rules


def _swap_halves(table: Tensor) -> Tensor:
    """Swap content and position in a query table [N, 2 C]; the source stores content first."""
    return torch.cat(table.chunk(2, dim=1)[::-1], dim=1)


def _as_convolution(weight: Tensor) -> Tensor:
    """Convert the weight of a linear layer to the kernel of a 1x1 convolution."""
    return weight[:, :, None, None]


def convert_panoptic_segformer(state_dict: dict[str, Tensor],
                               unused: dict[str, str] | None = None) -> dict[str, Tensor]:
    """Convert a released Panoptic SegFormer checkpoint for ``MaskTransformer``.

    The model needs ``mask_decoder=dict(classify=True, locate=True)``: the released checkpoints
    contain these branches, although their losses have no weight.

    Args:
        state_dict: ``backbone.*`` (ResNet, PVTv2 or Swin), ``neck.*``, ``bbox_head.*``. The names
            of older releases (``mask_head``, ``mask_head2``, ``cls_branches2``) work as well.
        unused: receives source key -> reason for each tensor that is not converted.

    Raises:
        KeyError: a parameter does not belong to the model.
    """
    backbone: list[Rule] = [
        *(_pvt_rules() if 'backbone.patch_embed1.proj.weight' in state_dict else swin_rules()),
        # mmdet's ResNet
        (r'(backbone\.(?:conv1|bn1|layer\d)\..+)', r'\1', None)]
    with torch.no_grad():
        return rename(state_dict, [
            *_transformer_rules(),
            *_mask_decoder_rules('(?:things_)?mask_head', 'cls_(?:thing_branches|branches2)',
                                 'mask_decoder'),
            *_mask_decoder_rules('(?:stuff_mask_head|mask_head2)', 'cls_stuff_branches',
                                 'stuff_mask_decoder'),
            *backbone], unused)


SOURCE = register_source(CheckpointSource(
    'panoptic_segformer', 'zhiqi-li/Panoptic-SegFormer, CVPR version', convert_panoptic_segformer,
    signature=(r'bbox_head\.transformer\.level_embeds', r'bbox_head\.stuff_query\.weight'),
    # rows of thing classes, which are first; a stuff class has a row in the query table only
    class_tensors=rf'{_HEAD}(?:location_decoder|mask_decoder)\.cls_branches\.\d+{_WEIGHT}',
    things_first=True))
