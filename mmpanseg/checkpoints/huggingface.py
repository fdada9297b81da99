"""Key maps from and to Mask2FormerForUniversalSegmentation of transformers."""
import re
from collections.abc import Callable

import torch
from torch import Tensor

from mmpanseg.checkpoints.detectron2_backbones import to_group_order, to_unfold_order
from mmpanseg.checkpoints.key_map import Rule, drop, rename
from mmpanseg.checkpoints.sources import CheckpointSource, register_source

# name in transformers, name in this library; {} is a number or the last part of both names
Pair = tuple[str, str]
_LEVEL = 'model.pixel_level_module.'
_ENCODER, _PIXEL = f'{_LEVEL}encoder.', f'{_LEVEL}decoder.'
_QUERY = 'model.transformer_module.'
_OUR_PIXEL, _OUR_LAYER = 'panoptic_head.pixel_decoder.', 'panoptic_head.transformer_decoder.layers.'
_BLOCK, _OUR_BLOCK = f'{_ENCODER}encoder.layers.{{}}.blocks.{{}}.', 'backbone.stages.{}.blocks.{}.'


def _head_pairs() -> list[Pair]:
    pixel_layer = f'{_PIXEL}encoder.layers.{{}}.'
    our_pixel_layer = f'{_OUR_PIXEL}encoder.layers.{{}}.'
    layer, our_layer = f'{_QUERY}decoder.layers.{{}}.', f'{_OUR_LAYER}{{}}.'
    mask_embedder = f'{_QUERY}decoder.mask_predictor.mask_embedder.'
    return [
        (f'{_PIXEL}level_embed', f'{_OUR_PIXEL}level_encoding.weight'),
        (f'{_PIXEL}input_projections.{{}}.0.{{}}', f'{_OUR_PIXEL}input_convs.{{}}.conv.{{}}'),
        (f'{_PIXEL}input_projections.{{}}.1.{{}}', f'{_OUR_PIXEL}input_convs.{{}}.gn.{{}}'),
        (f'{pixel_layer}self_attn.{{}}.{{}}', f'{our_pixel_layer}self_attn.{{}}.{{}}'),
        (f'{pixel_layer}self_attn_layer_norm.{{}}', f'{our_pixel_layer}norms.0.{{}}'),
        (f'{pixel_layer}final_layer_norm.{{}}', f'{our_pixel_layer}norms.1.{{}}'),
        (f'{pixel_layer}fc1.{{}}', f'{our_pixel_layer}ffn.layers.0.0.{{}}'),
        (f'{pixel_layer}fc2.{{}}', f'{our_pixel_layer}ffn.layers.1.{{}}'),
        (f'{_PIXEL}mask_projection.{{}}', f'{_OUR_PIXEL}mask_feature.{{}}'),
        (f'{_PIXEL}adapter_1.0.{{}}', f'{_OUR_PIXEL}lateral_convs.0.conv.{{}}'),
        (f'{_PIXEL}adapter_1.1.{{}}', f'{_OUR_PIXEL}lateral_convs.0.gn.{{}}'),
        (f'{_PIXEL}layer_1.0.{{}}', f'{_OUR_PIXEL}output_convs.0.conv.{{}}'),
        (f'{_PIXEL}layer_1.1.{{}}', f'{_OUR_PIXEL}output_convs.0.gn.{{}}'),
        (f'{_QUERY}queries_embedder.weight', 'panoptic_head.query_embed.weight'),
        (f'{_QUERY}queries_features.weight', 'panoptic_head.query_feat.weight'),
        (f'{_QUERY}level_embed.weight', 'panoptic_head.level_embed.weight'),
        (f'{_QUERY}input_projections.{{}}.{{}}', 'panoptic_head.decoder_input_projs.{}.{}'),
        (f'{_QUERY}decoder.layernorm.{{}}', 'panoptic_head.transformer_decoder.post_norm.{}'),
        *((f'{mask_embedder}{i}.0.{{}}', f'panoptic_head.mask_embed.{2 * i}.{{}}')
          for i in range(3)),
        ('class_predictor.{}', 'panoptic_head.cls_embed.{}'),
        *((f'{layer}self_attn.{part}_proj.{{}}', f'{our_layer}self_attn.attn.in_proj_{{}}#{i}')
          for i, part in enumerate('qkv')),
        (f'{layer}self_attn.out_proj.{{}}', f'{our_layer}self_attn.attn.out_proj.{{}}'),
        (f'{layer}cross_attn.in_proj_{{}}', f'{our_layer}cross_attn.attn.in_proj_{{}}'),
        (f'{layer}cross_attn.out_proj.{{}}', f'{our_layer}cross_attn.attn.out_proj.{{}}'),
        (f'{layer}cross_attn_layer_norm.{{}}', f'{our_layer}norms.0.{{}}'),
        (f'{layer}self_attn_layer_norm.{{}}', f'{our_layer}norms.1.{{}}'),
        (f'{layer}final_layer_norm.{{}}', f'{our_layer}norms.2.{{}}'),
        (f'{layer}fc1.{{}}', f'{our_layer}ffn.layers.0.0.{{}}'),
        (f'{layer}fc2.{{}}', f'{our_layer}ffn.layers.1.{{}}')]


def _swin_pairs() -> list[Pair]:
    attention, our_attention = f'{_BLOCK}attention.', f'{_OUR_BLOCK}attn.w_msa.'
    return [
        (f'{_ENCODER}embeddings.patch_embeddings.projection.{{}}',
         'backbone.patch_embed.projection.{}'),
        (f'{_ENCODER}embeddings.norm.{{}}', 'backbone.patch_embed.norm.{}'),
        *((f'{attention}self.{part}.{{}}', f'{our_attention}qkv.{{}}#{i}')
          for i, part in enumerate(('query', 'key', 'value'))),
        (f'{attention}self.relative_position_bias_table',
         f'{our_attention}relative_position_bias_table'),
        (f'{attention}output.dense.{{}}', f'{our_attention}proj.{{}}'),
        (f'{_BLOCK}layernorm_before.{{}}', f'{_OUR_BLOCK}norm1.{{}}'),
        (f'{_BLOCK}layernorm_after.{{}}', f'{_OUR_BLOCK}norm2.{{}}'),
        (f'{_BLOCK}intermediate.dense.{{}}', f'{_OUR_BLOCK}ffn.layers.0.0.{{}}'),
        (f'{_BLOCK}output.dense.{{}}', f'{_OUR_BLOCK}ffn.layers.1.{{}}'),
        *((f'{_ENCODER}hidden_states_norms.stage{i + 1}.{{}}', f'backbone.norm{i}.{{}}')
          for i in range(4))]


def _resnet_pairs() -> list[Pair]:
    pairs = [(f'{_ENCODER}embedder.embedder.convolution.{{}}', 'backbone.conv1.{}'),
             (f'{_ENCODER}embedder.embedder.normalization.{{}}', 'backbone.bn1.{}')]
    for stage in range(4):
        block = f'{_ENCODER}encoder.stages.{stage}.layers.{{}}.'
        ours = f'backbone.layer{stage + 1}.{{}}.'
        pairs += [(f'{block}shortcut.convolution.{{}}', f'{ours}downsample.0.{{}}'),
                  (f'{block}shortcut.normalization.{{}}', f'{ours}downsample.1.{{}}')]
        for i in range(3):
            pairs += [(f'{block}layer.{i}.convolution.{{}}', f'{ours}conv{i + 1}.{{}}'),
                      (f'{block}layer.{i}.normalization.{{}}', f'{ours}bn{i + 1}.{{}}')]
    return pairs


# patch merging: the channels are in a different order
_MERGING: list[Pair] = [
    (f'{_ENCODER}encoder.layers.{{}}.downsample.{name}', f'backbone.stages.{{}}.downsample.{name}')
    for name in ('norm.weight', 'norm.bias', 'reduction.weight')]


def _rule(source: str, target: str, change: Callable[[Tensor], Tensor] | None = None) -> Rule:
    pattern = r'([^.#]+)'.join(map(re.escape, source.split('{}')))
    parts = target.split('{}')
    return pattern, ''.join(
        part + (rf'\g<{i + 1}>' if i + 1 < len(parts) else '') for i, part in enumerate(parts)
    ), change


def _pairs() -> list[Pair]:
    return [*_head_pairs(), *_swin_pairs(), *_resnet_pairs()]


def convert_huggingface(state_dict: dict[str, Tensor],
                        unused: dict[str, str] | None = None) -> dict[str, Tensor]:
    """Convert a state dict of transformers for ``MaskTransformer`` with ``Mask2FormerHead``.

    Args:
        state_dict: ``model.pixel_level_module.*``, ``model.transformer_module.*``,
            ``class_predictor.*``; backbones Swin and ResNet.
        unused: receives source key -> reason for each tensor that is not converted.

    Raises:
        KeyError: a parameter does not belong to the model.
    """
    encoder = re.escape(_ENCODER)
    with torch.no_grad():
        return rename(state_dict, [
            *(_rule(*pair) for pair in _pairs()),
            *(_rule(*pair, to_unfold_order) for pair in _MERGING),
            drop(encoder + r'(?:swin\.)?layernorm\.(weight|bias)',
                 "norm of Swin's classifier; each feature map has its own norm"),
            drop(encoder + r'encoder\..+\.relative_position_index',
                 'determined by the window size'),
            drop(r'criterion\.empty_weight', 'class weights of the loss: the config sets them')],
            unused)


def to_huggingface(state_dict: dict[str, Tensor], unused: dict[str, str] | None = None,
                   no_object_weight: float = 0.1) -> dict[str, Tensor]:
    """Convert a state dict of Mask2Former to transformers.

    Tensors that exist in transformers only are added: the class weights of the loss, and zeros for
    missing query positions.

    Args:
        state_dict: state dict of this library.
        unused: receives key -> reason for each tensor that is not converted.
        no_object_weight: weight of "no object" in the loss.

    Raises:
        KeyError: a parameter does not exist in transformers' model.
    """
    with torch.no_grad():
        renamed = rename(_split_attention(state_dict), [
            *(_rule(ours, theirs) for theirs, ours in _pairs()),
            *(_rule(ours, theirs, to_group_order) for theirs, ours in _MERGING),
            drop(r'backbone\..+\.relative_position_index', 'determined by the window size'),
            drop(r'panoptic_head\.label_embed\.weight', 'used in training only')], unused)
        queries = renamed[f'{_QUERY}queries_features.weight']
        renamed.setdefault(f'{_QUERY}queries_embedder.weight', torch.zeros_like(queries))
        weights = torch.ones_like(renamed['class_predictor.bias'])
        weights[-1] = no_object_weight
        renamed['criterion.empty_weight'] = weights
    return renamed


def _split_attention(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Split joint projections of queries, keys and values into pieces, as in transformers."""
    joint = re.compile(r'.+\.(w_msa\.qkv\.|self_attn\.attn\.in_proj_)(weight|bias)')
    split: dict[str, Tensor] = {}
    for key, value in state_dict.items():
        if joint.fullmatch(key):
            split.update({f'{key}#{i}': part for i, part in enumerate(value.chunk(3))})
        else:
            split[key] = value
    return split


register_source(CheckpointSource(
    name='huggingface', title='transformers, Mask2FormerForUniversalSegmentation',
    convert=convert_huggingface,
    signature=(r'model\.pixel_level_module\..+', r'model\.transformer_module\..+'),
    class_tensors=r'panoptic_head\.cls_embed\.(weight|bias)'))
