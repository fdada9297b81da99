"""Key maps of Mask2Former and MP-Former (detectron2) and of mmdetection's Mask2Former."""
import re

import torch
from torch import Tensor

from mmpanseg.checkpoints.detectron2_backbones import resnet_rules, swin_rules
from mmpanseg.checkpoints.key_map import Rule, drop, rename
from mmpanseg.checkpoints.sources import CheckpointSource, register_source

_PIXEL, _DECODER = 'panoptic_head.pixel_decoder.', 'panoptic_head.transformer_decoder.layers.'
_WEIGHT = r'\.(weight|bias)'


def _rules(head: str) -> list[Rule]:
    # `pixel_decoder.` is missing in files of the first version
    pixel, query = f'{head}(?:pixel_decoder\\.)?', f'{head}predictor\\.'
    encoder = f'{pixel}transformer\\.encoder\\.layers\\.(\\d+)'
    ours = f'{_PIXEL}encoder.layers.\\1.'
    layer = f'{query}transformer_{{}}_layers\\.(\\d+)\\.'
    mask_index = {'0': '0', '1': '2', '2': '4'}
    rules: list[Rule] = [
        (rf'{pixel}input_proj\.(\d+)\.0{_WEIGHT}', rf'{_PIXEL}input_convs.\1.conv.\2', None),
        (rf'{pixel}input_proj\.(\d+)\.1{_WEIGHT}', rf'{_PIXEL}input_convs.\1.gn.\2', None),
        (rf'{pixel}transformer\.level_embed', f'{_PIXEL}level_encoding.weight', None),
        (rf'{encoder}\.self_attn\.(.+)', rf'{ours}self_attn.\2', None),
        (rf'{encoder}\.norm1{_WEIGHT}', rf'{ours}norms.0.\2', None),
        (rf'{encoder}\.norm2{_WEIGHT}', rf'{ours}norms.1.\2', None),
        (rf'{encoder}\.linear1{_WEIGHT}', rf'{ours}ffn.layers.0.0.\2', None),
        (rf'{encoder}\.linear2{_WEIGHT}', rf'{ours}ffn.layers.1.\2', None),
        (rf'{pixel}adapter_1\.weight', f'{_PIXEL}lateral_convs.0.conv.weight', None),
        (rf'{pixel}adapter_1\.norm{_WEIGHT}', rf'{_PIXEL}lateral_convs.0.gn.\1', None),
        (rf'{pixel}layer_1\.weight', f'{_PIXEL}output_convs.0.conv.weight', None),
        (rf'{pixel}layer_1\.norm{_WEIGHT}', rf'{_PIXEL}output_convs.0.gn.\1', None),
        (rf'{pixel}mask_features{_WEIGHT}', rf'{_PIXEL}mask_feature.\1', None),
        (rf'{query}decoder_norm{_WEIGHT}',
         r'panoptic_head.transformer_decoder.post_norm.\1', None),
        (rf'{query}class_embed{_WEIGHT}', r'panoptic_head.cls_embed.\1', None),
        (rf'{query}input_proj\.(\d+){_WEIGHT}', r'panoptic_head.decoder_input_projs.\1.\2', None),
        (rf'{query}static_query\.weight', 'panoptic_head.query_feat.weight', None),
        (rf'{query}(query_feat|query_embed|level_embed)\.weight', r'panoptic_head.\1.weight', None),
    ]
    rules += [(rf'{query}mask_embed\.layers\.{theirs}{_WEIGHT}',
               rf'panoptic_head.mask_embed.{index}.\1', None)
              for theirs, index in mask_index.items()]
    for number, (kind, theirs, name) in enumerate((
            ('cross_attention', r'multihead_attn\.', 'cross_attn.attn.'),
            ('self_attention', r'self_attn\.', 'self_attn.attn.'))):
        rules += [
            (layer.format(kind) + theirs + '(.+)', rf'{_DECODER}\1.{name}\2', None),
            (layer.format(kind) + f'norm{_WEIGHT}', rf'{_DECODER}\1.norms.{number}.\2', None)]
    rules += [
        (layer.format('ffn') + f'linear1{_WEIGHT}', rf'{_DECODER}\1.ffn.layers.0.0.\2', None),
        (layer.format('ffn') + f'linear2{_WEIGHT}', rf'{_DECODER}\1.ffn.layers.1.\2', None),
        (layer.format('ffn') + f'norm{_WEIGHT}', rf'{_DECODER}\1.norms.2.\2', None)]
    return rules


def _fpn_rules(state_dict: dict[str, Tensor], head: str) -> list[Rule]:
    """Create the rules of FPN pixel decoders, which contain one ``adapter`` per feature map.

    Returns:
        no rules for the deformable pixel decoder, which contains ``adapter_1`` only.
    """
    steps = {int(match[1]) for match in map(
        re.compile(rf'{head}pixel_decoder\.adapter_(\d+)\.weight').fullmatch, state_dict) if match}
    if len(steps) < 2:
        return []
    pixel, last = f'{head}pixel_decoder\\.', f'layer_{len(steps) + 1}'
    encoder = f'{pixel}transformer\\.encoder\\.layers\\.(\\d+)'
    with_encoder = any('pixel_decoder.transformer' in key for key in state_dict)
    top = 'encoder_out_proj' if with_encoder else 'last_feat_conv'
    rules: list[Rule] = [
        (rf'{pixel}{last}\.weight', f'{_PIXEL}{top}.conv.weight', None),
        (rf'{pixel}{last}\.norm{_WEIGHT}', rf'{_PIXEL}{top}.gn.\1', None),
        (rf'{pixel}input_proj{_WEIGHT}', rf'{_PIXEL}encoder_in_proj.\1', None),
        (rf'{encoder}\.self_attn\.(.+)', rf'{_PIXEL}encoder.layers.\1.self_attn.attn.\2',
         None)]
    for step in steps:
        for theirs, name in (('adapter', 'lateral_convs'), ('layer', 'output_convs')):
            conv = f'{_PIXEL}{name}.{step - 1}'
            rules += [(rf'{pixel}{theirs}_{step}\.weight', f'{conv}.conv.weight', None),
                      (rf'{pixel}{theirs}_{step}\.norm{_WEIGHT}', rf'{conv}.gn.\1', None)]
    return rules


def convert_mask2former(state_dict: dict[str, Tensor],
                        unused: dict[str, str] | None = None) -> dict[str, Tensor]:
    """Convert a published Mask2Former checkpoint for ``MaskTransformer``.

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
            *_fpn_rules(state_dict, head), *_rules(head), *resnet_rules(), *swin_rules(),
            drop(r'criterion\.empty_weight', 'class weights of the loss: the config sets them')],
            unused)


register_source(CheckpointSource(
    name='mask2former', title='facebookresearch/Mask2Former, detectron2',
    convert=convert_mask2former,
    signature=(r'sem_seg_head\.predictor\.(query_feat|static_query)\.weight',
               r'sem_seg_head\.predictor\.query_embed\.weight'),
    class_tensors=r'panoptic_head\.cls_embed\.(weight|bias)'))


_LABEL_TABLE = re.compile(r'(?:sem_seg_head\.)?predictor\.label_enc\.weight')


def convert_mp_former(state_dict: dict[str, Tensor],
                      unused: dict[str, str] | None = None) -> dict[str, Tensor]:
    """Convert a published MP-Former checkpoint for ``MaskTransformer`` with ``MPFormerHead``.

    It is a Mask2Former with ``query_pos='none'`` and a table of label embeddings, which is
    of use in training only; a ``Mask2FormerHead`` reports it as unexpected.

    Args:
        state_dict: names of detectron2, ``backbone.*`` and ``sem_seg_head.*``; for a head alone the
            prefix is optional.
        unused: receives source key -> reason for each tensor that is not converted.

    Raises:
        KeyError: a parameter does not belong to the model.
    """
    tables = {key for key in state_dict if _LABEL_TABLE.fullmatch(key)}
    converted = convert_mask2former(
        {key: value for key, value in state_dict.items() if key not in tables},
        unused)
    for key in tables:
        converted['panoptic_head.label_embed.weight'] = state_dict[key]
    return converted


register_source(CheckpointSource(
    name='mp_former', title='IDEA-Research/MP-Former, detectron2', convert=convert_mp_former,
    signature=(r'sem_seg_head\.predictor\.label_enc\.weight', ),
    class_tensors=r'panoptic_head\.(cls_embed\.(weight|bias)|label_embed\.weight)'))


# names of mmdetection 2; mmdetection 3 uses the names of this library
_MMDET_DECODER = r'(panoptic_head\.transformer_decoder\.layers\.\d+)\.'
_MMDET_ENCODER = r'(panoptic_head\.pixel_decoder\.encoder\.layers\.\d+)\.'
_MMDET_RULES: list[Rule] = [
    (_MMDET_DECODER + r'attentions\.0\.(.+)', r'\1.cross_attn.\2', None),
    (_MMDET_DECODER + r'attentions\.1\.(.+)', r'\1.self_attn.\2', None),
    (_MMDET_ENCODER + r'attentions\.0\.(.+)', r'\1.self_attn.\2', None),
    *((layer + r'ffns\.0\.(.+)', r'\1.ffn.\2', None) for layer in (_MMDET_DECODER, _MMDET_ENCODER)),
    drop(r'panoptic_head\.loss_cls\.class_weight',
         'class weights of the loss: the config sets them'),
    (r'((?:backbone|panoptic_head)\..+)', r'\1', None)]


def convert_mmdet(state_dict: dict[str, Tensor],
                  unused: dict[str, str] | None = None) -> dict[str, Tensor]:
    """Convert a Mask2Former checkpoint of mmdetection 2.x; names of 3.x are kept.

    Args:
        state_dict: ``backbone.*``, ``panoptic_head.*``.
        unused: receives source key -> reason for each tensor that is not converted.

    Raises:
        KeyError: a parameter does not belong to the model.
    """
    return rename(state_dict, _MMDET_RULES, unused)


register_source(CheckpointSource(
    name='mmdet', title='mmdetection 3.x (or 2.x) Mask2Former, or this library',
    convert=convert_mmdet,
    signature=(r'backbone\..+', r'panoptic_head\.query_feat\.weight',
               r'panoptic_head\.(transformer_decoder|predictor)\..+'),
    class_tensors=r'panoptic_head\.(cls_embed\.(weight|bias)|label_embed\.weight)',
    things_first=True))
