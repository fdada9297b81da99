"""Our Mask2Former for other libraries: transformers and mmdetection."""
import json
from pathlib import Path
from typing import Any, Optional, Sequence

import torch
from mmengine.config import ConfigDict
from torch import Tensor

from mmpanseg.checkpoints.files import write_safetensors
from mmpanseg.checkpoints.huggingface import to_huggingface
from mmpanseg.checkpoints.sources import CheckpointError

_STAGES = ['stage1', 'stage2', 'stage3', 'stage4']
_RESNET_DEPTHS = {50: [3, 4, 6, 3], 101: [3, 4, 23, 3], 152: [3, 8, 36, 3]}
_LABELS = 'panoptic_head.label_embed.weight'
_POSITIONS = 'panoptic_head.query_embed.weight'


def to_mmdet(state_dict: dict[str, Tensor],
             unused: Optional[dict[str, str]] = None) -> dict[str, Tensor]:
    """Our Mask2Former or MP-Former for mmdetection 3.x's ``Mask2Former``.

    Names are the same. What MP-Former has for training only goes; queries without position codes
    get zeros.

    Raises:
        CheckpointError: the model is another one.
    """
    exported = dict(state_dict)
    if 'panoptic_head.pixel_decoder.level_encoding.weight' not in exported or (
            'panoptic_head.query_feat.weight' not in exported):
        raise CheckpointError('mmdetection has Mask2Former with the deformable pixel decoder; '
                              'this checkpoint is of another model')
    if exported.pop(_LABELS, None) is not None and unused is not None:
        unused[_LABELS] = 'of use in training only'
    exported.setdefault(_POSITIONS, torch.zeros_like(exported['panoptic_head.query_feat.weight']))
    return exported


def write_huggingface(state_dict: dict[str, Tensor], model: ConfigDict, folder: Path,
                      classes: Optional[Sequence[str]] = None) -> dict[str, str]:
    """Write a folder that transformers loads as Mask2FormerForUniversalSegmentation.

    Args:
        state_dict: ours.
        model: ``model`` of the config, for what tensors do not tell (heads, windows, ...).
        folder: is made if it does not exist.
        classes: names by label.

    Returns:
        our keys without a place there, with the reason.

    Raises:
        CheckpointError: transformers has no such model.
    """
    config = huggingface_config(model, classes)
    unused: dict[str, str] = {}
    try:
        weights = to_huggingface(state_dict, unused)
    except KeyError as error:
        raise CheckpointError(f'no model of transformers: {error.args[0]}') from error
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(weights, folder / 'model.safetensors')
    (folder / 'config.json').write_text(json.dumps(config, indent=2) + '\n')
    (folder / 'preprocessor_config.json').write_text(
        json.dumps(_processor_config(model.get('data_preprocessor') or {}), indent=2) + '\n')
    return unused


def huggingface_config(model: ConfigDict, classes: Optional[Sequence[str]] = None) -> dict:
    """Content of ``config.json`` for a ``MaskTransformer`` config.

    Raises:
        CheckpointError: transformers has no such model.
    """
    head = model.panoptic_head
    pixel, decoder = head.get('pixel_decoder', {}), head.get('transformer_decoder', {})
    if pixel.get('type', 'mmpanseg.MSDeformAttnPixelDecoder') != (
            'mmpanseg.MSDeformAttnPixelDecoder') or not head.type.endswith(
                ('.Mask2FormerHead', '.MPFormerHead')):
        raise CheckpointError(f'transformers has no {head.type} with {pixel.get("type")}; it has '
                              'Mask2Former with the deformable pixel decoder')
    count = model.num_things_classes + model.num_stuff_classes
    names = list(classes or (f'LABEL_{i}' for i in range(count)))
    channels = head.get('channels', 256)
    return dict(
        model_type='mask2former', architectures=['Mask2FormerForUniversalSegmentation'],
        backbone_config=_backbone_config(model.backbone), dtype='float32',
        feature_size=channels, hidden_dim=channels,
        mask_feature_size=head.get('out_channels', 256),
        encoder_layers=pixel.get('num_layers', 6),
        encoder_feedforward_dim=pixel.get('feedforward_channels', 1024),
        # the prediction before the first layer counts there
        decoder_layers=decoder.get('num_layers', 9) + 1,
        dim_feedforward=decoder.get('feedforward_channels', 2048),
        num_attention_heads=decoder.get('num_heads', 8), num_queries=head.get('num_queries', 100),
        id2label=dict(enumerate(names)), label2id={name: i for i, name in enumerate(names)})


def _backbone_config(backbone: ConfigDict) -> dict[str, Any]:
    name = backbone.type.rpartition('.')[2]
    if name == 'ResNet' and backbone.depth in _RESNET_DEPTHS and (
            backbone.get('style', 'pytorch') == 'pytorch'):
        width = backbone.get('base_channels', 64)
        return dict(
            model_type='resnet', layer_type='bottleneck', hidden_act='relu', out_features=_STAGES,
            depths=_RESNET_DEPTHS[backbone.depth],
            embedding_size=backbone.get('stem_channels') or width,
            hidden_sizes=[4 * width * 2**stage for stage in range(4)])
    if name == 'SwinTransformer':
        width = backbone.get('embed_dims', 96)
        return dict(
            model_type='swin', out_features=_STAGES, embed_dim=width, hidden_size=8 * width,
            image_size=backbone.get('pretrain_img_size', 224),
            depths=list(backbone.get('depths', (2, 2, 6, 2))),
            num_heads=list(backbone.get('num_heads', (3, 6, 12, 24))),
            window_size=backbone.get('window_size', 7),
            drop_path_rate=backbone.get('drop_path_rate', 0.1))
    raise CheckpointError(f'transformers has no backbone for {dict(backbone)}; ResNet-50, -101, '
                          '-152 and Swin Transformer can be exported')


def _processor_config(preprocessor: dict) -> dict[str, Any]:
    """Images as the test pipeline of COCO makes them: pixels in 0 .. 1 there, 0 .. 255 here."""
    mean = preprocessor.get('mean') or [123.675, 116.28, 103.53]
    std = preprocessor.get('std') or [58.395, 57.12, 57.375]
    return dict(
        image_processor_type='Mask2FormerImageProcessor', do_resize=True, do_rescale=True,
        do_normalize=True, rescale_factor=1 / 255, image_mean=[x / 255 for x in mean],
        image_std=[x / 255 for x in std], size=dict(shortest_edge=800, longest_edge=1333),
        size_divisor=preprocessor.get('pad_size_divisor', 32), ignore_index=255,
        do_reduce_labels=False)
