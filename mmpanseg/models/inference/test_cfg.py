"""Which outputs a model gives, and how."""
from dataclasses import dataclass

from mmpanseg.models.fusion_heads.instances import MASK_FORMATS
from mmpanseg.utils.config_checks import resolve_option

SEMANTIC_RESIZE = ('masks', 'scores')


@dataclass(frozen=True)
class Outputs:
    """Options of the results, given as ``model.test_cfg``.

    Args:
        panoptic_on: give ``pred_panoptic_seg``.
        instance_on: give ``pred_instances``.
        semantic_on: give ``pred_sem_seg``.
        max_per_image: instances that are selected, stuff included.
        mask_format: 'dense', instances as one bool tensor [n, H, W], or 'rle', as n COCO run-length
            encodings, which cost next to nothing on large images.
        semantic_resize: what is resized to the size of the result before the arg-max, 'masks' or
            'scores'; by default, as published, scores if nothing but ``semantic_on`` is set.

    Raises:
        ValueError: for a value that is not possible; the text names the key.
    """

    panoptic_on: bool = True
    instance_on: bool = False
    semantic_on: bool = False
    max_per_image: int = 100
    mask_format: str = 'dense'
    semantic_resize: str | None = None

    def __post_init__(self) -> None:
        if not (self.panoptic_on or self.instance_on or self.semantic_on):
            raise ValueError('model.test_cfg switches every output off: set panoptic_on, '
                             'instance_on or semantic_on')
        if self.max_per_image < 1:
            raise ValueError(
                f'model.test_cfg.max_per_image={self.max_per_image} must be at least 1')
        resolve_option('model.test_cfg.mask_format', self.mask_format, dict.fromkeys(MASK_FORMATS))
        if self.semantic_resize is not None:
            resolve_option('model.test_cfg.semantic_resize', self.semantic_resize,
                   dict.fromkeys(SEMANTIC_RESIZE))

    @property
    def resize_scores(self) -> bool:
        """Whether semantic scores are resized, not mask logits."""
        if self.semantic_resize is None:
            return not (self.panoptic_on or self.instance_on)
        return self.semantic_resize == 'scores'
