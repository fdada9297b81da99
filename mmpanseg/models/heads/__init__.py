from mmpanseg.models.heads.base import PanopticHead
from mmpanseg.models.heads.detr_panoptic import DETRPanopticHead
from mmpanseg.models.heads.kmax_deeplab import KMaXDeepLabHead
from mmpanseg.models.heads.kmax_semantic_heads import KMaXSemanticHead, KMaXSimpleSemanticHead
from mmpanseg.models.heads.mask2former import Mask2FormerHead
from mmpanseg.models.heads.mp_former import MPFormerHead
from mmpanseg.models.heads.panoptic_segformer import PanopticSegFormerHead

__all__ = [
    'DETRPanopticHead', 'KMaXDeepLabHead', 'KMaXSemanticHead', 'KMaXSimpleSemanticHead',
    'MPFormerHead', 'Mask2FormerHead', 'PanopticHead', 'PanopticSegFormerHead']
