"""Key map of the blocks that kMaX-DeepLab's pixel decoder and MaX-S are made of."""
from mmpanseg.checkpoints.key_map import Rule

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
    return [*part_rules(theirs, ours, _BLOCK), *(
        rule for axis in ('height_axis', 'width_axis')
        for rule in part_rules(rf'{theirs}_attention\._{axis}\.', f'{ours}attn.{axis}.', _AXIS))]


def _last(pattern: str) -> int:
    """Number of the group that follows those of a pattern."""
    return pattern.count('(') - pattern.count('(?') + 1


def part_rules(theirs: str, ours: str, parts: dict[str, str]) -> list[Rule]:
    """Rules for all tensors of some parts behind a prefix, whose groups ``ours`` may use."""
    return [(rf'{theirs}{name}{_REST}', rf'{ours}{our_name}.\g<{_last(theirs)}>', None)
            for name, our_name in parts.items()]
