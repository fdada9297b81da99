from mmpanseg.models.fusion_heads.base import FusionHead
from mmpanseg.models.fusion_heads.heuristic import HeuristicFusionHead
from mmpanseg.models.fusion_heads.kmax import KMaXFusionHead
from mmpanseg.models.fusion_heads.mask_wise import MaskWiseFusionHead
from mmpanseg.models.fusion_heads.pixelwise import PixelwiseFusionHead
from mmpanseg.models.inference.test_cfg import Outputs

__all__ = ['FusionHead', 'HeuristicFusionHead', 'KMaXFusionHead', 'MaskWiseFusionHead', 'Outputs',
           'PixelwiseFusionHead']
