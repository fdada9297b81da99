from .detr_panoptic import DETRPanopticHead
from .kmax_deeplab import KMaXDeepLabHead
from .kmax_semantic import KMaXSemanticHead, KMaXSimpleSemanticHead
from .mask2former import Mask2FormerHead
from .mp_former import MPFormerHead
from .panoptic_segformer import PanopticSegFormerHead

__all__ = [
    'DETRPanopticHead', 'KMaXDeepLabHead', 'KMaXSemanticHead', 'KMaXSimpleSemanticHead',
    'MPFormerHead', 'Mask2FormerHead', 'PanopticSegFormerHead']
