"""Export of Mask2Former and MP-Former to transformers and mmdetection."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import ConfigDict
from torch import Tensor

from mmpanseg.checkpoints.class_names import EXPORT_ENTRY
from mmpanseg.checkpoints.export_limits import HUGGINGFACE, MMDET, check_expressible
from mmpanseg.checkpoints.huggingface import to_huggingface
from mmpanseg.checkpoints.image_processor import processor_config
from mmpanseg.checkpoints.safetensors_files import write_safetensors
from mmpanseg.checkpoints.sources import CheckpointError
from mmpanseg.utils import strict_json
from mmpanseg.utils.atomic_files import write_file

_STAGES = ['stage1', 'stage2', 'stage3', 'stage4']
_RESNET_DEPTHS = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3], 50: [3, 4, 6, 3],
                  101: [3, 4, 23, 3], 152: [3, 8, 36, 3]}
_LABELS = 'panoptic_head.label_embed.weight'
_POSITIONS = 'panoptic_head.query_embed.weight'


def to_mmdet(state_dict: dict[str, Tensor], unused: dict[str, str] | None = None,
             model: ConfigDict | None = None) -> dict[str, Tensor]:
    """Export a state dict to ``Mask2Former`` of mmdetection 3.x, which uses the same names.

    MP-Former's tensors for training are removed; missing query positions are set to zero.

    Args:
        state_dict: state dict of this library.
        unused: receives key -> reason for each tensor that is not exported.
        model: ``model`` of the config, to check settings without tensors (orders, attention
            variants); None skips the check.

    Raises:
        CheckpointError: mmdetection does not implement the model.
    """
    if model is not None:
        check_expressible(model, 'mmdetection', MMDET, foreign='mmdet')
    exported = dict(state_dict)
    if 'panoptic_head.pixel_decoder.level_encoding.weight' not in exported or (
            'panoptic_head.query_feat.weight' not in exported):
        raise CheckpointError('mmdetection has Mask2Former with the deformable pixel decoder; '
                              'this checkpoint is of another model')
    if exported.pop(_LABELS, None) is not None and unused is not None:
        unused[_LABELS] = 'used in training only'
    exported.setdefault(_POSITIONS, torch.zeros_like(exported['panoptic_head.query_feat.weight']))
    return exported


def write_huggingface(state_dict: dict[str, Tensor], model: ConfigDict, folder: Path,
                      classes: Sequence[str] = (),
                      pipeline: Sequence[dict] | None = None) -> dict[str, str]:
    """Write a folder that transformers loads as Mask2FormerForUniversalSegmentation.

    Args:
        state_dict: state dict of this library.
        model: ``model`` of the config, for settings without tensors (heads, windows, ...).
        folder: created if it does not exist.
        classes: class names by label; placeholders by default.
        pipeline: test pipeline, for ``preprocessor_config.json``; None omits the file.

    Returns:
        key -> reason for each tensor that is not exported.

    Raises:
        CheckpointError: transformers does not implement the model; the text names the setting.
    """
    files = {'config.json': (config := huggingface_config(model, classes))}
    if pipeline is not None:
        files['preprocessor_config.json'] = processor_config(model, pipeline)
    unused: dict[str, str] = {}
    try:
        weights = to_huggingface(state_dict, unused, config['no_object_weight'])
    except KeyError as error:
        raise CheckpointError(f'no model of transformers: {error.args[0]}') from error
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(weights, folder / 'model.safetensors')
    for name, content in files.items():
        write_file(folder / name, f'{strict_json.dumps(content, indent=2)}\n'.encode())
    return unused


def huggingface_config(model: ConfigDict, classes: Sequence[str] = ()) -> dict:
    """Create the content of ``config.json`` for a ``MaskTransformer`` config.

    The format does not store which labels are things. An additional entry of this library stores
    it, and shows the converter that the labels are in the order of the config.

    Args:
        model: ``model`` of the config.
        classes: class names by label; placeholders by default.

    Raises:
        CheckpointError: transformers does not implement the model; the text names the setting.
    """
    check_expressible(model, 'transformers', HUGGINGFACE)
    head = model.panoptic_head
    pixel, decoder = head.get('pixel_decoder', {}), head.get('transformer_decoder', {})
    criterion = head.get('criterion', {})
    count = model.num_things_classes + model.num_stuff_classes
    names = list(classes) or [f'class {label}' for label in range(count)]
    if len(names) != count:
        raise CheckpointError(f'{len(names)} class names for a model of {count} classes')
    channels = head.get('channels', 256)
    return dict(
        model_type='mask2former', architectures=['Mask2FormerForUniversalSegmentation'],
        backbone_config=_backbone_config(model.backbone), dtype='float32',
        feature_size=pixel.get('channels', channels), hidden_dim=channels,
        mask_feature_size=head.get('out_channels', 256),
        enforce_input_projection=head.get('project_inputs', False),
        encoder_layers=pixel.get('num_layers', 6),
        encoder_feedforward_dim=pixel.get('feedforward_channels', 1024),
        # transformers counts the prediction before the first layer
        decoder_layers=decoder.get('num_layers', 9) + 1,
        dim_feedforward=decoder.get('feedforward_channels', 2048),
        num_attention_heads=decoder.get('num_heads', 8), num_queries=head.get('num_queries', 100),
        no_object_weight=criterion.get('no_object_weight', 0.1),
        id2label=dict(enumerate(names)), label2id={name: i for i, name in enumerate(names)},
        **{EXPORT_ENTRY: dict(classes=names, num_things_classes=model.num_things_classes,
                           num_stuff_classes=model.num_stuff_classes)})


def _backbone_config(backbone: ConfigDict) -> dict[str, Any]:
    if backbone.type.rpartition('.')[2] == 'ResNet':
        width, basic = backbone.get('base_channels', 64), backbone.depth < 50
        return dict(
            model_type='resnet', layer_type='basic' if basic else 'bottleneck', hidden_act='relu',
            out_features=_STAGES,
            depths=_RESNET_DEPTHS[backbone.depth],
            embedding_size=backbone.get('stem_channels') or width,
            hidden_sizes=[(1 if basic else 4) * width * 2**stage for stage in range(4)])
    width = backbone.get('embed_dims', 96)
    return dict(
        model_type='swin', out_features=_STAGES, embed_dim=width, hidden_size=8 * width,
        image_size=backbone.get('pretrain_img_size', 224),
        depths=list(backbone.get('depths', (2, 2, 6, 2))),
        num_heads=list(backbone.get('num_heads', (3, 6, 12, 24))),
        window_size=backbone.get('window_size', 7), mlp_ratio=backbone.get('mlp_ratio', 4),
        qkv_bias=backbone.get('qkv_bias', True),
        drop_path_rate=backbone.get('drop_path_rate', 0.1))
