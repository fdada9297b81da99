"""Key map of IDEA-Research/MP-Former (detectron2) to this library's names."""
import re
from typing import Optional

from torch import Tensor

from mmpanseg.checkpoints.mask2former import convert_mask2former
from mmpanseg.checkpoints.sources import Source, register_source

_LABEL_TABLE = re.compile(r'(?:sem_seg_head\.)?predictor\.label_enc\.weight')


def convert_mp_former(state_dict: dict[str, Tensor],
                      unused: Optional[dict[str, str]] = None) -> dict[str, Tensor]:
    """Names of a published MP-Former checkpoint to ours (``MaskTransformer``, ``MPFormerHead``).

    It is a Mask2Former with ``query_positions='none'`` and a table of label embeddings, which is
    of use in training only; a ``Mask2FormerHead`` reports it as unexpected.

    Args:
        state_dict: detectron2's names: ``backbone.*``, ``sem_seg_head.*``; a head alone without
            that prefix works too.
        unused: gets the keys without a place here, with the reason.

    Raises:
        KeyError: for a parameter that does not belong to the model.
    """
    tables = {key for key in state_dict if _LABEL_TABLE.fullmatch(key)}
    converted = convert_mask2former(
        {key: value for key, value in state_dict.items() if key not in tables},
        unused)
    converted.update({'panoptic_head.label_embed.weight': state_dict[key] for key in tables})
    return converted


register_source(Source(
    name='mp_former', title='IDEA-Research/MP-Former, detectron2', convert=convert_mp_former,
    signature=(r'sem_seg_head\.predictor\.label_enc\.weight', ),
    class_tensors=r'panoptic_head\.(cls_embed\.(weight|bias)|label_embed\.weight)'))
