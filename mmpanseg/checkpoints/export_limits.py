"""What other libraries' Mask2Former can express of a config, setting by setting.

Settings of a part are the arguments of its class. A table names every one: what the target stores,
what it has in one form only, and what has no effect on predictions. A setting that a table does not
have is refused, and so is a part without a table.
"""
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mmpanseg.checkpoints.sources import CheckpointError
from mmpanseg.registry import MODELS


@dataclass(frozen=True)
class Rule:
    """Which values of a setting a target can express.

    Args:
        fits: tells for a value (tuples in place of lists).
        text: what the target has, for the error.
    """
    fits: Callable[[Any], bool]
    text: str = ''


def only(*values: Any) -> Rule:
    """These values, ``None`` among them or not."""
    return Rule(lambda value: value in values, ' or '.join(map(repr, values)))


def _is_norm(*types: str) -> Rule:
    """Norms of these types with PyTorch's epsilon; what concerns training only does not matter."""
    free = {'type', 'requires_grad', 'momentum', 'eps'}
    return Rule(lambda norm: set(norm) <= free and norm.get('eps', 1e-5) == 1e-5
                and norm['type'] in types, f'{" or ".join(types)} with eps=1e-05')


STORED = Rule(lambda value: True)  # in the tensors or in the target's config
NO_EFFECT = Rule(lambda value: True)  # on the predictions of the network
PART = Rule(lambda value: True)  # has a table of its own

Table = dict[str, dict[str, Rule]]

_RESNET = dict(
    depth=only(18, 34, 50, 101, 152), in_channels=only(3), stem_channels=STORED,
    base_channels=STORED, num_stages=only(4), strides=only((1, 2, 2, 2)),
    dilations=only((1, 1, 1, 1)), out_indices=only((0, 1, 2, 3)), style=only('pytorch'),
    deep_stem=only(False), avg_down=only(False), frozen_stages=NO_EFFECT, conv_cfg=only(None),
    norm_cfg=_is_norm('BN', 'SyncBN'), norm_eval=NO_EFFECT, dcn=only(None),
    stage_with_dcn=only((False, ) * 4), plugins=only(None), with_cp=NO_EFFECT,
    zero_init_residual=NO_EFFECT, pretrained=NO_EFFECT, init_cfg=NO_EFFECT)
_SWIN = dict(
    pretrain_img_size=STORED, in_channels=only(3), embed_dims=STORED, patch_size=only(4),
    window_size=STORED, mlp_ratio=STORED, depths=Rule(lambda x: len(x) == 4, 'four stages'),
    num_heads=STORED, strides=only((4, 2, 2, 2)), out_indices=only((0, 1, 2, 3)),
    qkv_bias=STORED, qk_scale=only(None), patch_norm=only(True), drop_rate=NO_EFFECT,
    attn_drop_rate=NO_EFFECT, drop_path_rate=NO_EFFECT, use_abs_pos_embed=only(False),
    act_cfg=only(dict(type='GELU')), norm_cfg=_is_norm('LN'), with_cp=NO_EFFECT,
    pretrained=NO_EFFECT, convert_weights=NO_EFFECT, frozen_stages=NO_EFFECT, init_cfg=NO_EFFECT)
_PIXEL_DECODER = dict(
    in_channels=STORED, channels=STORED, out_channels=STORED, num_encoder_levels=only(3),
    # more maps than the three that the queries read are not used
    num_outs=Rule(lambda x: x >= 3, '3'), num_layers=STORED, num_heads=STORED,
    num_points=only(4), feedforward_channels=STORED, dropout=NO_EFFECT,
    norm_cfg=only(dict(type='GN', num_groups=32), dict(type='GN', num_groups=32, eps=1e-5)),
    init_cfg=NO_EFFECT)
_DECODER = dict(
    num_layers=STORED, channels=STORED, num_heads=STORED, feedforward_channels=STORED,
    dropout=NO_EFFECT, pre_norm=only(False), cross_attention=only('masked'),
    order=only(('cross', 'self', 'ffn')), init_cfg=NO_EFFECT)
_HEAD = dict(
    in_channels=STORED, num_things_classes=STORED, num_stuff_classes=STORED, num_queries=STORED,
    channels=STORED, out_channels=STORED, levels=only((0, 1, 2)), multi_scale=only('efficient'),
    # whether the start content is supervised concerns training only
    query_feat=only('supervised', 'unsupervised'),
    # without position codes: zeros
    query_pos=only('learned', 'none'), project_inputs=STORED, pixel_decoder_fp32=NO_EFFECT,
    pixel_decoder=PART, transformer_decoder=PART, criterion=NO_EFFECT, init_cfg=NO_EFFECT)
_MODEL = dict(
    num_things_classes=STORED, num_stuff_classes=STORED, backbone=PART, panoptic_head=PART,
    # what happens to the network's outputs is up to the caller there
    panoptic_fusion_head=NO_EFFECT, test_cfg=NO_EFFECT, data_preprocessor=PART, init_cfg=NO_EFFECT)
_PREPROCESSOR = dict(
    mean=STORED, std=STORED, pad_size_divisor=STORED, pad_value=only(0), pad_mask=NO_EFFECT,
    mask_pad_value=NO_EFFECT, pad_seg=NO_EFFECT, seg_pad_value=NO_EFFECT, bgr_to_rgb=STORED,
    rgb_to_bgr=STORED, boxtype2tensor=NO_EFFECT, non_blocking=NO_EFFECT, batch_augments=NO_EFFECT)
_MASK2FORMER: Table = {
    'mmpanseg.MaskTransformer': _MODEL,
    'mmpanseg.Mask2FormerHead': _HEAD,
    'mmpanseg.MPFormerHead': {**_HEAD, 'piloting': NO_EFFECT},
    'mmpanseg.MSDeformAttnPixelDecoder': _PIXEL_DECODER,
    'mmpanseg.MaskedAttentionDecoder': _DECODER}

HUGGINGFACE: Table = {
    **_MASK2FORMER, 'mmdet.ResNet': _RESNET, 'mmdet.SwinTransformer': _SWIN,
    'mmdet.DetDataPreprocessor': _PREPROCESSOR}
# its configs have every setting of its own classes, and these of the decoders as well
MMDET: Table = {
    **_MASK2FORMER,
    'mmpanseg.MSDeformAttnPixelDecoder': {
        **_PIXEL_DECODER, 'num_points': STORED, 'norm_cfg': STORED}}


def check_expressible(model: dict, target: str, table: Table, foreign: str = '') -> None:
    """Refuse what a target cannot express of a model's config.

    Args:
        model: ``model`` of the config.
        target: name of the library, for the error.
        table: what it can express.
        foreign: package whose classes the target has with all their settings.

    Raises:
        CheckpointError: the text names the setting and what the target has in its place.
    """
    _check(model, 'model', target, table, foreign)
    head = model['panoptic_head']
    if table is HUGGINGFACE:
        heads = [head.get(part, {}).get('num_heads', 8)
                 for part in ('pixel_decoder', 'transformer_decoder')]
        if heads[0] != heads[1]:
            raise CheckpointError(
                f'{target} has one number of heads for both decoders, the config has model.'
                f'panoptic_head.pixel_decoder.num_heads={heads[0]} and transformer_decoder.'
                f'num_heads={heads[1]}')


def _check(config: dict, path: str, target: str, table: Table, foreign: str) -> None:
    kind = config['type']
    if isinstance(kind, str):
        with MODELS.switch_scope_and_registry(None) as registry:  # names as in building
            kind = registry.get(kind)
    name = f'{kind.__module__.partition(".")[0]}.{kind.__name__}' if kind else config['type']
    if name not in table:
        if foreign and name.startswith(f'{foreign}.'):
            return
        level = path.rpartition('.')[2]
        raise CheckpointError(f'{target} has no {level} {config["type"]} ({path}.type); what can '
                              f'be exported: {", ".join(table)}'
                              + (f' and all of {foreign}' if foreign else ''))
    settings = {**defaults(kind), **{key: value for key, value in config.items() if key != 'type'}}
    for key, value in settings.items():
        rule = table[name].get(key)
        value = _tuples(value)
        if rule is None:
            if key in config:
                raise CheckpointError(f'{path}.{key}={value!r} is not known to the export for '
                                      f'{target}; leave it out')
        elif rule is PART:
            if value is not None:
                _check(value, f'{path}.{key}', target, table, foreign)
        elif not rule.fits(value):
            raise CheckpointError(
                f'{target} cannot express {path}.{key}={value!r}, it has {rule.text} only: the '
                'same tensors would give other results there')


def defaults(kind: type) -> dict[str, Any]:
    """Arguments of a class with default values, through ``**kwargs`` of its bases."""
    found: dict[str, Any] = {}
    for base in kind.__mro__:
        if '__init__' not in vars(base):
            continue
        parameters = inspect.signature(base.__init__).parameters.values()
        found.update({p.name: p.default for p in parameters
                      if p.default is not p.empty and p.name not in found})
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return found


def _tuples(value: Any) -> Any:
    """Lists as tuples and configs as dicts, all the way down."""
    if isinstance(value, (list, tuple)):
        return tuple(map(_tuples, value))
    if isinstance(value, dict):
        return {key: _tuples(x) for key, x in value.items()}
    return value
