"""Key map of mmdetection's Mask2Former; version 3 uses the names of this library."""
from torch import Tensor

from mmpanseg.checkpoints.key_map import Rule, drop, rename
from mmpanseg.checkpoints.sources import CheckpointSource, register_source

_DECODER = r'(panoptic_head\.transformer_decoder\.layers\.\d+)\.'
_ENCODER = r'(panoptic_head\.pixel_decoder\.encoder\.layers\.\d+)\.'
_RULES: list[Rule] = [
    (_DECODER + r'attentions\.0\.(.+)', r'\1.cross_attn.\2', None),
    (_DECODER + r'attentions\.1\.(.+)', r'\1.self_attn.\2', None),
    (_ENCODER + r'attentions\.0\.(.+)', r'\1.self_attn.\2', None),
    *((layer + r'ffns\.0\.(.+)', r'\1.ffn.\2', None) for layer in (_DECODER, _ENCODER)),
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
    return rename(state_dict, _RULES, unused)


register_source(CheckpointSource(
    name='mmdet', title='mmdetection 3.x (or 2.x) Mask2Former, or this library',
    convert=convert_mmdet,
    signature=(r'backbone\..+', r'panoptic_head\.query_feat\.weight',
               r'panoptic_head\.(transformer_decoder|predictor)\..+'),
    class_tensors=r'panoptic_head\.(cls_embed\.(weight|bias)|label_embed\.weight)',
    things_first=True))
