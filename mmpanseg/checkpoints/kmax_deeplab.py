"""Key map of bytedance/kmax-deeplab (detectron2)."""
import torch
from torch import Tensor

from mmpanseg.checkpoints.detectron2_backbones import resnet_rules
from mmpanseg.checkpoints.key_map import Rule, rename
from mmpanseg.checkpoints.sources import CheckpointSource, register_source

_REST = r'\.(.+)'

# source name -> name of one convolution with norm; both contain ``conv`` and ``norm``
_BLOCK = {'_conv1_bn_act': 'conv1', '_conv2_bn_act': 'conv2', '_conv3_bn': 'conv3',
          '_shortcut': 'shortcut'}
_AXIS = {r'qkv_transform\.conv': 'qkv.conv', '_batch_norm_qkv': 'qkv.norm',
         r'_query_rpe\._embeddings': 'query_rpe.embeddings',
         r'_key_rpe\._embeddings': 'key_rpe.embeddings',
         r'_value_rpe\._embeddings': 'value_rpe.embeddings',
         '_batch_norm_similarity': 'norm_similarity',
         '_batch_norm_retrieved_output': 'norm_output'}


def block_rules(theirs: str, ours: str) -> list[Rule]:
    """Create the rules of a residual block with convolutions or axial attention.

    Args:
        theirs: pattern of the prefix in the source.
        ours: replacement of the prefix, with references to at most two groups of ``theirs``.
    """
    return [*part_rules(theirs, ours, _BLOCK), *(
        rule for axis in ('height_axis', 'width_axis')
        for rule in part_rules(rf'{theirs}_attention\._{axis}\.', f'{ours}attn.{axis}.', _AXIS))]


def _last(pattern: str) -> int:
    """Compute the number of the next group after a pattern."""
    return pattern.count('(') - pattern.count('(?') + 1


def part_rules(theirs: str, ours: str, parts: dict[str, str]) -> list[Rule]:
    """Create the rules of all tensors of some modules.

    Args:
        theirs: pattern of the prefix in the source.
        ours: replacement of the prefix, with references to groups of ``theirs``.
        parts: source name -> name of each module.
    """
    return [(rf'{theirs}{name}{_REST}', rf'{ours}{our_name}.\g<{_last(theirs)}>', None)
            for name, our_name in parts.items()]


_CONVNEXT_BLOCK = r'(backbone\.stages\.\d+\.\d+\.)'


def convnext_rules() -> list[Rule]:
    """Create the rules of the official ConvNeXt with the prefix ``backbone.``."""
    return [
        (_CONVNEXT_BLOCK + r'dwconv\.(.+)', r'\1depthwise_conv.\2', None),
        (_CONVNEXT_BLOCK + r'pwconv(\d)\.(.+)', r'\1pointwise_conv\2.\3', None),
        (_CONVNEXT_BLOCK + r'(gamma|norm\..+)', r'\1\2', None),
        (r'(backbone\.downsample_layers\..+)', r'\1', None)]


def max_s_rules() -> list[Rule]:
    """Create the rules of MaX-S with the prefix ``backbone.``."""
    rules = part_rules(r'backbone\.stem\.', 'backbone.stem.', {
        '_conv1_bn_act': '0', '_conv2_bn_act': '1', '_conv3_bn': '2'})
    for stage in range(4):
        rules += block_rules(rf'backbone\.stage{stage + 2}\.(\d+)\.',
                             rf'backbone.stages.{stage}.\1.')
    return rules


def backbone_rules() -> list[Rule]:
    """Create the rules of all backbones with the prefix ``backbone.``."""
    return [*resnet_rules(), *convnext_rules(), *max_s_rules()]


_PIXEL = 'panoptic_head.pixel_decoder.'
_DECODER = 'panoptic_head.transformer_decoder.layers.'
_SEMANTIC = 'panoptic_head.semantic_head.'

# source name -> name of the modules of a decoder layer, a predictor and the auxiliary head
_LAYER = {'_query_conv1_bn_act': 'query_conv', '_pixel_conv1_bn_act': 'pixel_conv',
          '_query_qkv_conv_bn': 'query_proj', '_pixel_(?:v|kv|qkv)_conv_bn': 'pixel_proj',
          r'_query_self_attention\._batch_norm_similarity': 'self_attn.norm_similarity',
          r'_query_self_attention\._batch_norm_retrieved_value': 'self_attn.norm_value',
          r'_pixel_attention\._batch_norm_similarity': 'pixel_attn.norm_similarity',
          r'_pixel_attention\._batch_norm_retrieved_value': 'pixel_attn.norm_value',
          '_query_conv3_bn': 'self_attn_out', '_pixel_conv3_bn': 'pixel_out',
          '_query_ffn_conv1_bn_act': 'ffn.0', '_query_ffn_conv2_bn': 'ffn.1',
          '_kmeans_query_batch_norm_retrieved_value': 'update_norm',
          '_kmeans_query_conv3_bn': 'update_out'}
_PREDICTOR = {'_pixel_space_head_conv0bnact': 'pixel_convs.0',
              '_pixel_space_head_conv1bnact': 'pixel_convs.1',
              '_pixel_space_head_last_convbn': 'pixel_convs.2',
              '_transformer_mask_head': 'mask_embed', '_transformer_class_head': 'cls_embed',
              '_pixel_space_mask_batch_norm': 'mask_norm'}
_SEMANTIC_PARTS = {
    r'_aspp\._aspp_pool': 'aspp.pool', r'_aspp\._proj_conv_bn_act': 'aspp.project',
    **{rf'_aspp\._aspp_conv{i}': f'aspp.convs.{i}' for i in range(4)},
    **{f'_low_level_projection_os{stride}': f'low_level_convs.{i}'
       for i, stride in enumerate((8, 4))},
    **{f'_low_level_fusion_os{stride}_conv{part}_bn_act': f'fusion_convs.{i}.{part}'
       for i, stride in enumerate((8, 4)) for part in range(2)},
    'conv_block_0': 'conv.0', 'conv_block_1': 'conv.1', 'final_conv': 'cls_conv',
    # the head without ASPP
    '0': 'conv.0', '1': 'conv.1', '2': 'cls_conv'}


def _pixel_rules(head: str) -> list[Rule]:
    pixel = rf'{head}pixel_decoder\.'
    rules: list[Rule] = [
        (rf'{pixel}_in_norms\.(.+)', rf'{_PIXEL}input_norms.\1', None),
        (rf'{pixel}_resized_fuses\.(\d+)\._conv_bn_(low|high)\.(.+)',
         rf'{_PIXEL}fusions.\1.\2.1.\3', None)]
    return rules + block_rules(rf'{pixel}_stages\.(\d+)\._blocks\.(\d+)\.',
                               rf'{_PIXEL}stages.\1.\2.')


def _query_rules(head: str) -> list[Rule]:
    query = rf'{head}predictor\.'
    layer = rf'{query}_kmax_transformer_layers\.(\d+)\.'
    return [
        (rf'{query}_cluster_centers\.weight', 'panoptic_head.query_feat.weight',
         lambda table: table.T.contiguous()),
        *part_rules(query, 'panoptic_head.', {'_class_embedding_projection': 'cls_proj',
                                          '_mask_embedding_projection': 'mask_proj'}),
        *part_rules(rf'{query}_predcitor\.', 'panoptic_head.predictor.', _PREDICTOR),
        *part_rules(rf'{layer}_predcitor\.', rf'{_DECODER}\1.predictor.', _PREDICTOR),
        *part_rules(layer, rf'{_DECODER}\1.', _LAYER),
        *part_rules(rf'{query}_auxiliary_semantic_predictor\.', _SEMANTIC, _SEMANTIC_PARTS)]


def convert_kmax_deeplab(state_dict: dict[str, Tensor],
                         unused: dict[str, str] | None = None) -> dict[str, Tensor]:
    """Convert a published kMaX-DeepLab checkpoint for ``MaskTransformer``.

    The authors' converter produces these names from checkpoints of the TensorFlow version.

    Args:
        state_dict: names of detectron2, ``backbone.*`` and ``sem_seg_head.*``; for a head alone the
            prefix is optional.
        unused: receives source key -> reason for each tensor that is not converted.

    Raises:
        KeyError: a parameter does not belong to the model.
    """
    with torch.no_grad():
        head = r'(?:sem_seg_head\.)?'
        return rename(state_dict, [
            *_pixel_rules(head), *_query_rules(head), *backbone_rules()], unused)


register_source(CheckpointSource(
    name='kmax_deeplab', title='bytedance/kmax-deeplab, detectron2',
    convert=convert_kmax_deeplab,
    signature=(r'sem_seg_head\.predictor\._cluster_centers\.weight', ),
    class_tensors=(
        r'panoptic_head\.(transformer_decoder\.layers\.\d+\.)?predictor\.cls_embed'
        r'\.conv\.(weight|bias)|panoptic_head\.semantic_head\.cls_conv\.conv\.(weight|bias)')))
