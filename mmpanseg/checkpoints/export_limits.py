"""Settings of Mask2Former configs that other libraries can represent.

The settings of a module are the arguments of its class. A table lists the limit of each: stored by
the target, restricted to some values, or without effect on predictions. Settings and modules
without an entry in a table cannot be exported.
"""
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mmpanseg.checkpoints.sources import CheckpointError
from mmpanseg.registry import MODELS


@dataclass(frozen=True)
class Limit:
    """Values of a setting that a target can represent.

    Attributes:
        fits: checks a value, in which lists are replaced by tuples.
        text: supported values, for the error text.
    """
    fits: Callable[[Any], bool]
    text: str = ''


def one_of(*values: Any) -> Limit:
    """Limit a setting to the given values."""
    return Limit(lambda value: value in values, ' or '.join(map(repr, values)))


def _is_norm(*types: str) -> Limit:
    """Limit a norm to types with PyTorch's default epsilon; settings of training are free."""
    free = {'type', 'requires_grad', 'momentum', 'eps'}
    return Limit(lambda norm: set(norm) <= free and norm.get('eps', 1e-5) == 1e-5
                and norm['type'] in types, f'{" or ".join(types)} with eps=1e-05')


# stored in the tensors or in the config of the target
STORED = Limit(lambda value: True)
# without effect on predictions
NO_EFFECT = Limit(lambda value: True)
# config of a module, which has its own table
PART = Limit(lambda value: True)

Table = dict[str, dict[str, Limit]]

_RESNET = dict(
    depth=one_of(18, 34, 50, 101, 152), in_channels=one_of(3), stem_channels=STORED,
    base_channels=STORED, num_stages=one_of(4), strides=one_of((1, 2, 2, 2)),
    dilations=one_of((1, 1, 1, 1)), out_indices=one_of((0, 1, 2, 3)), style=one_of('pytorch'),
    deep_stem=one_of(False), avg_down=one_of(False), frozen_stages=NO_EFFECT, conv_cfg=one_of(None),
    norm_cfg=_is_norm('BN', 'SyncBN'), norm_eval=NO_EFFECT, dcn=one_of(None),
    stage_with_dcn=one_of((False, ) * 4), plugins=one_of(None), with_cp=NO_EFFECT,
    zero_init_residual=NO_EFFECT, pretrained=NO_EFFECT, init_cfg=NO_EFFECT)
_SWIN = dict(
    pretrain_img_size=STORED, in_channels=one_of(3), embed_dims=STORED, patch_size=one_of(4),
    window_size=STORED, mlp_ratio=STORED, depths=Limit(lambda x: len(x) == 4, 'four stages'),
    num_heads=STORED, strides=one_of((4, 2, 2, 2)), out_indices=one_of((0, 1, 2, 3)),
    qkv_bias=STORED, qk_scale=one_of(None), patch_norm=one_of(True), drop_rate=NO_EFFECT,
    attn_drop_rate=NO_EFFECT, drop_path_rate=NO_EFFECT, use_abs_pos_embed=one_of(False),
    act_cfg=one_of(dict(type='GELU')), norm_cfg=_is_norm('LN'), with_cp=NO_EFFECT,
    pretrained=NO_EFFECT, convert_weights=NO_EFFECT, frozen_stages=NO_EFFECT, init_cfg=NO_EFFECT)
_PIXEL_DECODER = dict(
    in_channels=STORED, channels=STORED, out_channels=STORED, num_encoder_levels=one_of(3),
    # the queries use three maps; further ones have no effect
    num_outs=Limit(lambda x: x >= 3, '3'), num_layers=STORED, num_heads=STORED,
    num_points=one_of(4), feedforward_channels=STORED, dropout=NO_EFFECT,
    norm_cfg=one_of(dict(type='GN', num_groups=32), dict(type='GN', num_groups=32, eps=1e-5)),
    init_cfg=NO_EFFECT)
_DECODER = dict(
    num_layers=STORED, channels=STORED, num_heads=STORED, feedforward_channels=STORED,
    dropout=NO_EFFECT, pre_norm=one_of(False), cross_attention=one_of('masked'),
    order=one_of(('cross', 'self', 'ffn')), init_cfg=NO_EFFECT)
_HEAD = dict(
    in_channels=STORED, num_things_classes=STORED, num_stuff_classes=STORED, num_queries=STORED,
    channels=STORED, out_channels=STORED, levels=one_of((0, 1, 2)), multi_scale=one_of('efficient'),
    # supervision of the initial queries affects training only
    query_feat=one_of('supervised', 'unsupervised'),
    # 'none' is exported as zeros
    query_pos=one_of('learned', 'none'), project_inputs=STORED, pixel_decoder_fp32=NO_EFFECT,
    pixel_decoder=PART, transformer_decoder=PART, criterion=NO_EFFECT, init_cfg=NO_EFFECT)
_MODEL = dict(
    num_things_classes=STORED, num_stuff_classes=STORED, backbone=PART, panoptic_head=PART,
    # postprocessing is configured by the caller of the target
    panoptic_fusion_head=NO_EFFECT, test_cfg=NO_EFFECT, data_preprocessor=PART, init_cfg=NO_EFFECT,
    new_channels=NO_EFFECT)  # the weights have them already
_PREPROCESSOR = dict(
    mean=STORED, std=STORED, pad_size_divisor=STORED, pad_value=one_of(0), pad_mask=NO_EFFECT,
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
# mmdetection represents all settings of its own classes, and more settings of the pixel decoder
MMDET: Table = {
    **_MASK2FORMER,
    'mmpanseg.MSDeformAttnPixelDecoder': {
        **_PIXEL_DECODER, 'num_points': STORED, 'norm_cfg': STORED}}


def check_expressible(model: dict, target: str, table: Table, foreign: str = '') -> None:
    """Check that a target can represent a model config.

    Args:
        model: ``model`` of the config.
        target: name of the library in error texts.
        table: limits of the target.
        foreign: package whose classes the target supports with all settings.

    Raises:
        CheckpointError: a setting is not supported; the text names it and the supported values.
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
        with MODELS.switch_scope_and_registry(None) as registry:  # resolves names like build
            kind = registry.get(kind)
    name = f'{kind.__module__.partition(".")[0]}.{kind.__name__}' if kind else config['type']
    if name not in table:
        if foreign and name.startswith(f'{foreign}.'):
            return
        level = path.rpartition('.')[2]
        raise CheckpointError(f'{target} has no {level} {config["type"]} ({path}.type); types that '
                              f'can be exported: {", ".join(table)}'
                              + (f' and all of {foreign}' if foreign else ''))
    settings = {**default_arguments(kind),
                **{key: value for key, value in config.items() if key != 'type'}}
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
                f'{target} cannot express {path}.{key}={value!r}, it supports {rule.text} only: '
                'the same tensors would produce other results there')


def default_arguments(kind: type) -> dict[str, Any]:
    """Collect the default values of the arguments of a class.

    Args:
        kind: class; arguments of its bases count where ``**kwargs`` is passed on.
    """
    found: dict[str, Any] = {}
    for base in kind.__mro__:
        if '__init__' not in vars(base):
            continue
        parameters = inspect.signature(vars(base)['__init__']).parameters.values()
        found.update({p.name: p.default for p in parameters
                      if p.default is not p.empty and p.name not in found})
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return found


def _tuples(value: Any) -> Any:
    """Convert lists to tuples and configs to dicts, recursively."""
    if isinstance(value, (list, tuple)):
        return tuple(map(_tuples, value))
    if isinstance(value, dict):
        return {key: _tuples(x) for key, x in value.items()}
    return value
