"""Key map of bytedance/kmax-deeplab (detectron2) to this library's names."""
import torch
from torch import Tensor

from mmpanseg.checkpoints.key_map import Rule, rename

_PIXEL = 'panoptic_head.pixel_decoder.'
_DECODER = 'panoptic_head.transformer_decoder.layers.'
_REST = r'\.(.+)'

# names of one convolution each, theirs to ours; both hold ``conv`` and ``norm``
_BLOCK = {'_conv1_bn_act': 'conv1', '_conv2_bn_act': 'conv2', '_conv3_bn': 'conv3',
          '_shortcut': 'shortcut'}
_AXIS = {r'qkv_transform\.conv': 'qkv.conv', '_batch_norm_qkv': 'qkv.norm',
         r'_query_rpe\._embeddings': 'query_rpe.embeddings',
         r'_key_rpe\._embeddings': 'key_rpe.embeddings',
         r'_value_rpe\._embeddings': 'value_rpe.embeddings',
         '_batch_norm_similarity': 'norm_similarity',
         '_batch_norm_retrieved_output': 'norm_output'}


def block_rules(theirs: str, ours: str) -> list[Rule]:
    """Rules for a residual block with convolutions or axial attention.

    Args:
        theirs: pattern in front of the block's own names; its groups may be used in ``ours``.
        ours: replacement for it, with at most two groups.
    """
    rules: list[Rule] = [(rf'{theirs}{name}{_REST}', rf'{ours}{our_name}.\g<{_last(theirs)}>', None)
                         for name, our_name in _BLOCK.items()]
    for axis in ('height_axis', 'width_axis'):
        rules += [(rf'{theirs}_attention\._{axis}\.{name}{_REST}',
                   rf'{ours}attn.{axis}.{our_name}.\g<{_last(theirs)}>', None)
                  for name, our_name in _AXIS.items()]
    return rules


def _last(pattern: str) -> int:
    """Number of the group that follows those of a pattern."""
    return pattern.count('(') - pattern.count('(?') + 1


def _pixel_rules(head: str) -> list[Rule]:
    pixel = rf'{head}pixel_decoder\.'
    rules: list[Rule] = [
        (rf'{pixel}_in_norms\.(.+)', rf'{_PIXEL}input_norms.\1', None),
        (rf'{pixel}_resized_fuses\.(\d+)\._conv_bn_(low|high)\.(.+)',
         rf'{_PIXEL}fusions.\1.\2.1.\3', None)]
    return rules + block_rules(rf'{pixel}_stages\.(\d+)\._blocks\.(\d+)\.',
                               rf'{_PIXEL}stages.\1.\2.')


def convert_kmax_deeplab(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names of a published kMaX-DeepLab checkpoint to ours (``MaskTransformer``).

    Args:
        state_dict: detectron2's names: ``backbone.*``, ``sem_seg_head.*``; a head alone without
            that prefix works too.

    Raises:
        KeyError: for a parameter that does not belong to the model.
    """
    with torch.no_grad():
        return rename(state_dict, _pixel_rules(r'(?:sem_seg_head\.)?'))
