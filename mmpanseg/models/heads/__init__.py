from .mask2former import Mask2FormerHead
from .mp_former import MPFormerHead

__all__ = ['MPFormerHead', 'Mask2FormerHead']
