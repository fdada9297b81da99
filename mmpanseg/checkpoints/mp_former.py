"""Key map of IDEA-Research/MP-Former (detectron2) to this library's names."""
import re

from torch import Tensor

from mmpanseg.checkpoints.mask2former import convert_mask2former

_LABEL_TABLE = re.compile(r'(?:sem_seg_head\.)?predictor\.label_enc\.weight')


def convert_mp_former(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names of a published MP-Former checkpoint to ours (``MaskTransformer``, ``MPFormerHead``).

    It is a Mask2Former with ``query_positions='none'`` and a table of label embeddings, which is
    of use in training only; a ``Mask2FormerHead`` reports it as unexpected.

    Args:
        state_dict: detectron2's names: ``backbone.*``, ``sem_seg_head.*``; a head alone without
            that prefix works too.

    Raises:
        KeyError: for a parameter that does not belong to the model.
    """
    tables = {key for key in state_dict if _LABEL_TABLE.fullmatch(key)}
    converted = convert_mask2former(
        {key: value for key, value in state_dict.items() if key not in tables})
    converted.update({'panoptic_head.label_embed.weight': state_dict[key] for key in tables})
    return converted
