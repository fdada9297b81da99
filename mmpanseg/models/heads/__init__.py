from .kmax_deeplab import KMaXDeepLabHead
from .kmax_semantic import KMaXSemanticHead, KMaXSimpleSemanticHead
from .mask2former import Mask2FormerHead
from .mp_former import MPFormerHead

__all__ = ['KMaXDeepLabHead', 'KMaXSemanticHead', 'KMaXSimpleSemanticHead', 'MPFormerHead', 'Mask2FormerHead']
