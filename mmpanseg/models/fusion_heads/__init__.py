from .fusion_head import FusionHead
from .heuristic import HeuristicFusionHead
from .kmax import KMaXFusionHead
from .mask_wise import MaskWiseFusionHead
from .outputs import Outputs
from .pixelwise import PixelwiseFusionHead

__all__ = ['FusionHead', 'HeuristicFusionHead', 'KMaXFusionHead', 'MaskWiseFusionHead', 'Outputs',
           'PixelwiseFusionHead']
