from mmpanseg.models.fusion_heads.base import FusionHead
from mmpanseg.models.fusion_heads.heuristic import HeuristicFusionHead
from mmpanseg.models.fusion_heads.kmax import KMaXFusionHead
from mmpanseg.models.fusion_heads.mask_wise import MaskWiseFusionHead
from mmpanseg.models.fusion_heads.pixelwise import PixelwiseFusionHead

__all__ = ['FusionHead', 'HeuristicFusionHead', 'KMaXFusionHead', 'MaskWiseFusionHead',
           'PixelwiseFusionHead']
