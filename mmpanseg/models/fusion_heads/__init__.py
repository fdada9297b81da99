from .fusion_head import FusionHead
from .outputs import Outputs
from .pixelwise import PixelwiseFusionHead

__all__ = ['FusionHead', 'Outputs', 'PixelwiseFusionHead']
