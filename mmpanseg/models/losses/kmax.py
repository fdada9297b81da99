"""kMaX-DeepLab's criterion."""
from mmengine.model import BaseModule

from mmpanseg.registry import MODELS


@MODELS.register_module()
class KMaXCriterion(BaseModule):
    """Losses of kMaX-DeepLab."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
